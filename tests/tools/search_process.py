"""A search of two tiny trials, as a process that tests can kill.

`python tests/tools/search_process.py SEARCH_DIR [ROLE HOST:PORT]` begins or resumes it.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

if __name__ == "__main__":
    import quietly  # noqa: F401

from clan_tf import plots
from clan_tf.cli.console import run_safely
from clan_tf.config import Experiment, load_experiment
from clan_tf.progress import Progress
from clan_tf.search import SearchConfig, search, tuner
from clan_tf.training import start_files

TINY_DEMO = Path(__file__).parents[1] / "helpers" / "tiny_demo.yaml"
PHOTOS = ["data.image_size=32", "data.resize_size=36", "data.generated_photos={train: 48, val: 24, test: 8}"]


class Lines(Progress):
    """Every note as a line on stderr, at once."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def experiment() -> Experiment:
    recipe = ["model.architecture=plain", "training.epochs=3", "training.batch_size=8", "training.learning_rate=0.01"]
    return load_experiment(TINY_DEMO, [*PHOTOS, *recipe, "training.checkpoint_minutes=0.0001"])


def space() -> SearchConfig:
    rates = {"kind": "choice", "values": [0.01, 0.02]}
    return SearchConfig.model_validate({"parameters": {"training.learning_rate": rates}, "algorithm": "grid"})


def main(search_dir: str, role: str | None = None, address: str | None = None) -> None:
    plots.save_figure = lambda figure, path: path.touch()  # both as in helpers/pictures.py
    start_files.write_augmented_samples = lambda checked, names, experiment, path: path.touch()
    import_module("clan_tf.search.search").LEASE_SECONDS, tuner.BEAT_SECONDS = 6.0, 0.5
    search(experiment(), space(), search_dir, role, address, Lines())


if __name__ == "__main__":
    run_safely(lambda: main(*sys.argv[1:]))
