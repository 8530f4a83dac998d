"""Kills a training run again and again and resumes it; it must end as one that was never interrupted.

`python tests/tools/soak.py FOLDER --kills 50 --devices 1 [KEY=VALUE …]` prints a line per kill and exits with 1 if
anything differs.
"""

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path

import training_process

from clan_tf.models import load_model
from clan_tf.run import Outcome, RunDirectory
from clan_tf.run.checkpoints import state_files

MOMENTS = ("checkpoint", "writing", "start", "checkpoint")


def finish(run_dir: Path, devices: int, overrides: list[str]) -> int:
    """Trains to the end in a process of its own; its exit status."""
    return os.waitpid(_start(run_dir, devices, overrides), 0)[1]


def kill_sometime(run_dir: Path, devices: int, overrides: list[str], delay: float, moment: str) -> int | None:
    """Resumes a run and kills it.

    Args:
        delay: in seconds, after the moment.
        moment: `"start"` of the process; its first new `"checkpoint"`; or that, and then the next one in `"writing"`.

    Returns:
        `None` if it was killed, its exit status if it had ended before.
    """
    checkpoints, before = RunDirectory(run_dir).checkpoints, _newest(run_dir)
    child = _start(run_dir, devices, overrides)
    deadline = time.monotonic() + 300
    due = time.monotonic() + 10 * delay if moment == "start" else None
    while due is None or time.monotonic() < due or (moment == "writing" and not _is_writing(run_dir)):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            raise TimeoutError(f"no checkpoint in {checkpoints} within 300 s")
        if due is None and _newest(run_dir) > before:
            due = time.monotonic() + delay
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def differences(run_dir: Path, undisturbed: Path) -> list[str]:
    """What isn't exactly alike in two finished runs, their times aside."""
    one, other = RunDirectory(run_dir), RunDirectory(undisturbed)
    found = []
    for file in ("last", "best"):
        weights = [load_model(getattr(run, file)).get_weights() for run in (one, other)]
        if any((a != b).any() for a, b in zip(*weights, strict=True)):
            found.append(f"the weights of {file}.keras")
    if one.metrics.read_bytes() != other.metrics.read_bytes():
        found.append("metrics.csv")
    if _timeless(one.outcome()) != _timeless(other.outcome()):
        found.append("the outcome")
    return found


def _start(run_dir: Path, devices: int, overrides: list[str]) -> int:
    """A forked process that trains: TensorFlow is imported already, and hasn't started."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            training_process.main(str(run_dir), devices, overrides)
            status = 0
        except SystemExit as error:
            print(error.code, file=sys.stderr)
        finally:
            sys.stdout.flush()
            os._exit(status)
    return child


def _is_writing(run_dir: Path) -> bool:
    return any(RunDirectory(run_dir).checkpoints.glob(".partial-*"))


def _newest(run_dir: Path) -> str:
    return next((path.name for path in state_files(RunDirectory(run_dir).checkpoints)), "")


def _timeless(outcome: Outcome | None) -> tuple | None:
    return outcome and (outcome.epochs, outcome.best_epoch, outcome.best_accuracy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--longest", type=float, default=1.0, help="seconds from the first new checkpoint to the kill")
    parser.add_argument("--seed", type=int, default=0)
    arguments, overrides = parser.parse_known_args()
    undisturbed, disturbed = arguments.folder / "undisturbed", arguments.folder / "disturbed"
    if finish(undisturbed, arguments.devices, overrides) != 0:
        sys.exit("the undisturbed training failed")
    delays = random.Random(arguments.seed)
    kills = 0
    while kills < arguments.kills:
        delay = delays.uniform(0, arguments.longest)
        moment = MOMENTS[kills % len(MOMENTS)]
        if kill_sometime(disturbed, arguments.devices, overrides, delay, moment) is not None:
            break
        kills += 1
        when = ", while a checkpoint was written" if _is_writing(disturbed) else ""
        print(f"kill {kills}: {moment} and {delay:.3f} s, newest {_newest(disturbed)}{when}", flush=True)
    if finish(disturbed, arguments.devices, overrides) != 0:
        sys.exit("the disturbed training failed")
    found = differences(disturbed, undisturbed)
    print(f"{kills} kills on {arguments.devices} devices; differences: {', '.join(found) or 'none'}")
    sys.exit(1 if found or kills < arguments.kills else 0)


if __name__ == "__main__":
    main()
