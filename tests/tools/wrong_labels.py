"""How many planted wrong labels `clan-tf data labels` finds.

`python tests/tools/wrong_labels.py CONFIG [--share 0.05] [--seeds 0,1,2]` gives a share of a config's train photos
another class at random, in a table of the source `csv`, ranks them, and prints for each seed which share of the wrong
labels is among the first 10 % of the list, and how many of those that are called issues are wrong.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import quietly  # noqa: F401

from clan_tf.config import load_experiment
from clan_tf.data import Source, read_source
from clan_tf.data.sources.source import relative_name


def main() -> None:
    """Parses the arguments and prints a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", default="0,1,2")
    given = parser.parse_args()
    data = load_experiment(given.config, []).data
    source = read_source(data)
    for seed in map(int, given.seeds.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            wrong = write_table(Path(folder) / "photos.csv", source, str(data.root), given.share, seed)
            started = time.monotonic()
            output = Path(folder) / "labels"
            command = [sys.executable, "-m", "clan_tf.cli.main", "data", "labels", given.config, "data.source=csv"]
            command += [f"data.csv={folder}/photos.csv", "--output", str(output), "--json"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds = time.monotonic() - started
            with (output / "labels.csv").open(encoding="utf-8", newline="") as file:
                ranked = [row["photo"] for row in csv.DictReader(file)]
            issues = [entry["photo"] for entry in json.loads(done.stdout)["ranked_issues"]]
        first = wrong & set(ranked[: len(ranked) // 10])
        found = wrong & set(issues)
        print(
            f"seed {seed}: {len(first)} of {len(wrong)} wrong labels ({len(first) / len(wrong):.1%}) in the first "
            f"{len(ranked) // 10} of {len(ranked)} photos; {len(issues)} issues, {len(found)} of them wrong; "
            f"{seconds:.0f} s",
            flush=True,
        )


def write_table(table: Path, source: Source, root: str, share: float, seed: int) -> set[str]:
    """Writes all photos, some train photos with another class; returns the names of these."""
    rng, train = np.random.default_rng(seed), source.splits["train"]
    chosen = set(rng.choice(len(train), round(share * len(train)), replace=False).tolist())
    classes, wrong = len(source.class_names), set()
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for split, photos in source.splits.items():
            for index, photo in enumerate(photos):
                name, label = relative_name(photo.name, root), photo.label
                if split == "train" and index in chosen:
                    label = (label + int(rng.integers(1, classes))) % classes
                    wrong.add(name)
                writer.writerow([name, source.class_names[label], split])
    return wrong


if __name__ == "__main__":
    main()
