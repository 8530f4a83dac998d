"""A small training with everything that has a state, as a process that tests can kill.

`python tests/tools/training_process.py RUN_DIR DEVICES [KEY=VALUE …]` begins or resumes it on so many logical CPUs.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import quietly  # noqa: F401
import tensorflow as tf

from clan_tf import plots
from clan_tf.cli.console import run_safely
from clan_tf.config import Experiment, load_experiment
from clan_tf.progress import Progress
from clan_tf.training import start_files, train

EVERYTHING = Path(__file__).parents[1] / "helpers" / "everything.yaml"


class Lines(Progress):
    """Every note as a line on stdout, at once."""

    def note(self, text: str) -> None:
        print(text, flush=True)


def experiment(overrides: list[str]) -> Experiment:
    return load_experiment(EVERYTHING, overrides)


def use_logical_cpus(count: int) -> None:
    """`MirroredStrategy` on so many logical CPUs, where training would look for GPUs."""
    if count == 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    import_module("clan_tf.training.train").make_strategy = lambda config, note: tf.distribute.MirroredStrategy(
        [f"CPU:{index}" for index in range(count)]
    )


def main(run_dir: str, devices: int, overrides: list[str]) -> None:
    plots.save_figure = lambda figure, path: path.touch()  # both as in helpers/pictures.py
    start_files.write_augmented_samples = lambda checked, names, experiment, path: path.touch()
    use_logical_cpus(devices)
    result = train(experiment(overrides), run_dir, progress=Lines(), resume=True)
    print(result.outcome, flush=True)


if __name__ == "__main__":
    run_safely(lambda: main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
