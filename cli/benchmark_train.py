"""`clan-tf benchmark train`."""

from typing import Annotated

import typer

from clan_tf.cli.console import ConsoleProgress, JsonOption, print_json, quiet_tensorflow
from clan_tf.cli.experiment import DEMO, ExperimentArguments, with_experiment
from clan_tf.cli.speed_tables import print_speed


@with_experiment
def benchmark_train(
    experiment: ExperimentArguments,
    steps: Annotated[int, typer.Option("--steps", min=1, help="How many steps each contender makes per round.")] = 3,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often the contenders take turns.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure the time of a training step, beside PyTorch if installed.

    Random photos and random weights are used: model.weights isn't loaded, and no photos are needed. The network is
    translated to PyTorch weight for weight; outputs, loss and gradient are compared first. Beside CLAN, its plain
    backbone is measured.
    """
    loaded = experiment.load(DEMO)
    quiet_tensorflow()
    from clan_tf.benchmark.train import benchmark_train as measure

    result = measure(loaded, steps, rounds, ConsoleProgress())
    if as_json:
        print_json(result.to_json())
    else:
        print_speed(result)
