"""`clan-tf calibrate`."""

from typing import Annotated

import typer

from clan_tf.cli.console import ConsoleProgress, JsonOption, print_json, quiet_tensorflow, say


def calibrate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The directory of a finished run.")],
    as_json: JsonOption = False,
) -> None:
    """Make a trained model's probabilities mean what they say.

    Divides its logits by a temperature that is fitted on validation photos. Training does so by itself, unless
    training.calibrate is none. Accuracies stay the same; export again what was exported before.
    """
    quiet_tensorflow()
    from clan_tf.evaluation import calibrate as calibrate_run

    result = calibrate_run(run, ConsoleProgress())
    if as_json:
        print_json(result.to_json())
        return
    before, after = result.fit.losses
    say(f"Calibrated: {result.fit}.")
    say(f"Negative log-likelihood of these photos: {before:.4f} before, {after:.4f} after.")
    say(f"Model: {result.model}")
    if result.evaluated:
        say(f"Evaluated again: {', '.join(result.evaluated)}. Then: clan-tf report {run}, and export again.")
