"""The demo must end well on every machine: trains it over seeds, instruction sets and numbers of threads.

`python tests/tools/demo_seeds.py --output D` prints a table of test accuracies, and exits with 1 if any is at most
95 %. Each run is a process of its own, as a user starts it; finished runs in D are kept, so that it can be resumed.
With `--jobs 2` two runs go on at once, and the seconds say nothing. No reports are written, which take no part in it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SETTINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "one thread": {},
}
LIMIT = 0.95


def train_demo(run: Path, seed: int, setting: str, overrides: Sequence[str]) -> dict[str, float]:
    """Trains one demo unless it is finished; returns its test accuracy by branch, and the whole command's seconds."""
    result = run.with_name(f"{run.name}.json")
    if not result.exists():
        keys = [f"training.seed={seed}", *overrides]
        processor = sorted(os.sched_getaffinity(0))[seed % len(os.sched_getaffinity(0))]
        program = Path(sys.executable).with_name("clan-tf")
        started = time.perf_counter()
        command = [str(program), *("train", "demo", "--run-dir", str(run), "--resume", "--no-report")]
        process = subprocess.Popen(
            [*command, *(x for key in keys for x in ("--set", key))],
            env={**os.environ, **SETTINGS[setting]},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if setting == "one thread":
            # TensorFlow takes as many threads as there are processors; it isn't loaded yet.
            os.sched_setaffinity(process.pid, {processor})
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
        seconds = time.perf_counter() - started
        metrics = json.loads((run / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))
        accuracies = {name: branch["top1"] for name, branch in metrics["branches"].items()}
        result.write_text(json.dumps({**accuracies, "seconds": seconds}), encoding="utf-8")
    return json.loads(result.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="Runs at once.")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Overrides a key of the demo.")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    failed = False
    print(f"{'setting':16}" + "".join(f"{f'seed {seed}':>9}" for seed in range(arguments.seeds)) + f"{'seconds':>10}")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        table = {
            setting: [
                pool.submit(
                    train_demo,
                    arguments.output / f"{setting.replace(' ', '-')}-{seed}",
                    seed,
                    setting,
                    arguments.set,
                )
                for seed in range(arguments.seeds)
            ]
            for setting in arguments.settings
        }
        for setting, futures in table.items():
            runs = [future.result() for future in futures]
            failed |= any(run["combined"] <= LIMIT for run in runs)
            cells = "".join(f"{100 * run['combined']:>9.2f}" for run in runs)
            print(f"{setting:16}{cells}{max(run['seconds'] for run in runs):>10.0f}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
