"""Whether CLAN is better than the plain backbone and its own parts, on the same photos and with the same search budget.

`python tests/tools/compare.py CONFIG --output D --lr 0.005 0.01 [--set KEY=VALUE …]` trains every network at every
learning rate with the seeds `--search-seeds`, chooses each network's learning rate by the accuracy on validation
photos, trains it with the other `--seeds`, and reads the test results of the chosen runs alone. It prints a table and
writes D/comparison.json. Every run is a command of its own, as a user starts it; finished runs in D are kept, so that
the same command resumes. With `--jobs 2` two runs go on at once, each on half of the processors.

`--network max:mid_pooling=max,scales=3` adds a network of that name.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from scipy import stats

from clan_tf.evaluation import read_predictions
from clan_tf.reproduce.significance import paired_p_value
from clan_tf.run import RunDirectory

NETWORKS: dict[str, dict[str, str]] = {
    "plain": {"architecture": "plain"},
    "plain-bn": {"architecture": "plain", "head_batch_norm": "true"},
    "gap": {"mid_refinement": "gap", "spatial_attention": "false"},
    "non_local": {"mid_refinement": "non_local", "spatial_attention": "false"},
    "clca": {"spatial_attention": "false"},
    "clan": {},
    "clan-3": {"scales": "3"},
}
BASELINES = ("plain", "gap")


@dataclass(frozen=True)
class Run:
    """One command: a network, a learning rate and a seed."""

    network: str
    rate: float
    seed: int
    folder: Path

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.folder / f"{self.network}-lr{self.rate:g}-seed{self.seed}")

    @property
    def is_finished(self) -> bool:
        return self.directory.evaluation("test").is_current

    def validation(self) -> tuple[float, float]:
        """The best epoch's combined accuracy on validation photos, and its negated loss: more of either is better."""
        row = self.directory.read_metrics()[self.directory.read_status()["best_epoch"] - 1]
        return float(row["val_combined_accuracy"]), -float(row["val_loss"])

    def figures(self) -> dict[str, Any]:
        return json.loads(self.directory.evaluation("test").metrics.read_text(encoding="utf-8"))

    def are_right(self) -> np.ndarray:
        rows = read_predictions(self.directory.evaluation("test"), ["combined"])
        return np.array([row["combined"] == row["true"] for row in rows])


class Runner:
    """Trains runs as processes, `jobs` at once, each on its own processors."""

    def __init__(
        self, config: str, networks: Mapping[str, Mapping[str, str]], overrides: Sequence[str], jobs: int
    ) -> None:
        self.config, self.networks, self.overrides, self.jobs = config, networks, overrides, jobs
        processors = sorted(os.sched_getaffinity(0))
        self.slots: SimpleQueue[list[int]] = SimpleQueue()
        for job in range(jobs):
            self.slots.put(processors[job::jobs] or processors)

    def finish(self, runs: Sequence[Run]) -> None:
        missing = [run for run in runs if not run.is_finished]
        with ThreadPoolExecutor(self.jobs) as pool:
            for number, _ in enumerate(pool.map(self._train, missing), start=1):
                print(f"{number} of {len(missing)} runs", file=sys.stderr, flush=True)

    @contextmanager
    def _slot(self) -> Iterator[list[int]]:
        slot = self.slots.get()
        try:
            yield slot
        finally:
            self.slots.put(slot)

    def _train(self, run: Run) -> None:
        keys = [f"model.{key}={value}" for key, value in self.networks[run.network].items()]
        keys += [f"training.learning_rate={run.rate:g}", f"training.seed={run.seed}", *self.overrides]
        program = Path(sys.executable).with_name("clan-tf")
        command = [str(program), "train", self.config, "--run-dir", str(run.directory.path), "--resume", "--no-report"]
        with self._slot() as processors, (run.folder / "log.txt").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [*command, *(part for key in keys for part in ("--set", key))], stdout=log, stderr=log
            )
            os.sched_setaffinity(process.pid, processors)
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, process.args)


def chosen_rate(runs: Sequence[Run]) -> float:
    """The learning rate of the highest mean accuracy on validation photos; the lower loss decides between equals."""
    rates = dict.fromkeys(run.rate for run in runs)
    return max(
        rates, key=lambda rate: tuple(np.mean([run.validation() for run in runs if run.rate == rate], axis=0).round(9))
    )


def difference(own: Sequence[Run], other: Sequence[Run]) -> dict[str, float]:
    """Points that `own` is better by, with a 95 % interval over the seeds and the p-value over the photos."""
    own_right, other_right = (np.array([run.are_right() for run in runs]) for runs in (own, other))
    by_seed = 100 * (own_right.mean(axis=1) - other_right.mean(axis=1))
    half = float("nan")
    if len(by_seed) > 1:
        half = float(stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std(ddof=1) / np.sqrt(len(by_seed)))
    return {"points": float(by_seed.mean()), "half_interval": half, "p": paired_p_value(own_right, other_right)}


def summary(runs: Sequence[Run], rate: float) -> dict[str, Any]:
    figures = [run.figures() for run in runs]
    accuracy = [100 * each["branches"]["combined"]["top1"] for each in figures]
    branches = figures[0]["branches"]
    return {
        "learning_rate": rate,
        "accuracy": accuracy,
        "mean": float(np.mean(accuracy)),
        "deviation": float(np.std(accuracy, ddof=1)) if len(runs) > 1 else float("nan"),
        "calibration_error": 100 * float(np.mean([each["expected_calibration_error"] for each in figures])),
        "branches": {
            name: 100 * float(np.mean([each["branches"][name]["top1"] for each in figures])) for name in branches
        },
    }


def parsed_network(text: str) -> tuple[str, dict[str, str]]:
    name, _, changes = text.partition(":")
    return name, dict(change.split("=", 1) for change in changes.split(",") if change)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="As for clan-tf train.")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), help=f"Of {', '.join(NETWORKS)}.")
    parser.add_argument("--network", action="append", default=[], type=parsed_network, metavar="NAME:KEY=VALUE,…")
    parser.add_argument("--lr", nargs="+", type=float, required=True, help="The learning rates to choose from.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--search-seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="Runs at once.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Overrides a key of every run.")
    arguments = parser.parse_args()
    networks = {name: NETWORKS[name] for name in arguments.networks} | dict(arguments.network)
    arguments.output.mkdir(parents=True, exist_ok=True)
    runner = Runner(arguments.config, networks, arguments.set, arguments.jobs)

    def runs(name: str, rates: Sequence[float], seeds: Sequence[int]) -> list[Run]:
        return [Run(name, rate, seed, arguments.output) for seed in seeds for rate in rates]

    searched = {name: runs(name, arguments.lr, arguments.search_seeds) for name in networks}
    if len(arguments.lr) > 1:
        runner.finish([run for each in searched.values() for run in each])
    rates = {name: chosen_rate(each) if len(arguments.lr) > 1 else arguments.lr[0] for name, each in searched.items()}
    chosen = {name: runs(name, [rates[name]], arguments.seeds) for name in networks}
    # All networks of one seed before the next seed: an interrupted comparison has whole seeds.
    runner.finish([run for same_seed in zip(*chosen.values(), strict=True) for run in same_seed])
    table = {name: summary(each, rates[name]) for name, each in chosen.items()}
    baselines = [name for name in BASELINES if name in chosen]
    print(
        "network       rate   combined         ECE  " + "  ".join(f"over {name:<24}" for name in baselines) + "branches"
    )
    for name, row in table.items():
        row["over"] = {base: difference(chosen[name], chosen[base]) for base in baselines if base != name}
        cells = ["{points:+6.2f} ± {half_interval:.2f}, p = {p:.2g}".format(**over) for over in row["over"].values()]
        branches = ", ".join(f"{branch} {value:.2f}" for branch, value in row["branches"].items())
        print(
            f"{name:12} {row['learning_rate']:<6g} {row['mean']:5.2f} ± {row['deviation']:4.2f}",
            f"{row['calibration_error']:6.2f}  " + "  ".join(f"{cell:29}" for cell in cells) + branches,
        )
    document = {"arguments": {key: str(value) for key, value in vars(arguments).items()}, "networks": table}
    (arguments.output / "comparison.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
