"""`clan-tf benchmark data`."""

from typing import Annotated

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    JsonOption,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
)
from clan_tf.cli.experiment import DEMO, ExperimentArguments, with_experiment


@with_experiment
def benchmark_data(
    experiment: ExperimentArguments,
    photos: Annotated[int, typer.Option("--photos", min=1, help="How many train photos to read.")] = 512,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long each contender runs per round.")] = 3.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often the contenders take turns.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure the training pipeline's photos per second.

    Beside it stand decoding alone and PyTorch's loader, if installed.
    """
    loaded = experiment.load(DEMO)
    quiet_tensorflow()
    from clan_tf.benchmark import benchmark_data as measure

    result = measure(loaded, photos, seconds, rounds, ConsoleProgress())
    if as_json:
        print_json(result.to_json())
        return
    height, width, length = result.median_size
    print_table(
        f"{result.photos} photos of {width} x {height} pixels and {length / 1000:.0f} kB (medians) to "
        f"{loaded.data.image_size} pixels, {result.cores} cores",
        ("", "photos/s", "slowest round", "fastest round", "of decoding"),
        [
            (name, f"{rate.median:.0f}", f"{rate.lowest:.0f}", f"{rate.highest:.0f}", f"{rate.of_decoding:.2f}")
            for name, rate in result.rates.items()
        ],
    )
    for note in result.notes:
        say(note)
    if result.pipeline_of_torch is not None:
        say(
            f"The pipeline is {result.pipeline_of_torch:.2f} times as fast as PyTorch's, "
            f"cached {result.cached_of_torch:.2f} times (medians of the rounds' ratios)."
        )
