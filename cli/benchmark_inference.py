"""`clan-tf benchmark inference`."""

from typing import Annotated

import typer

from clan_tf.cli.console import ConsoleProgress, JsonOption, print_json, quiet_tensorflow
from clan_tf.cli.experiment import DEMO, ExperimentArguments, with_experiment
from clan_tf.cli.speed_tables import print_speed


@with_experiment
def benchmark_inference(
    experiment: ExperimentArguments,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="How many predictions each contender makes per round.")
    ] = 10,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often the contenders take turns.")] = 5,
    exports: Annotated[
        bool, typer.Option("--exports", help="Predict one photo by exported files, too: SavedModel, ONNX, TFLite.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the time of a prediction, beside PyTorch if installed.

    The Keras model predicts one photo and a batch in float32. Photos and weights are random: model.weights isn't
    loaded, and no photos are needed. PyTorch runs the same network weight for weight, eagerly and by torch.compile;
    outputs are compared first. Beside CLAN, its plain backbone is measured.
    """
    loaded = experiment.load(DEMO)
    quiet_tensorflow()
    from clan_tf.benchmark.inference import benchmark_inference as measure

    results = measure(loaded, steps, rounds, ConsoleProgress(), exports)
    if as_json:
        print_json([result.to_json() for result in results])
        return
    for result in results:
        print_speed(result)
