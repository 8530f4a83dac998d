"""`clan-tf calibrate`."""

from typing import Annotated

import typer

from clan_tf.cli.console import ConsoleProgress, JsonOption, SetOption, print_json, quiet_tensorflow, say


def calibrate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The directory of a finished run.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate a model's probabilities by temperature scaling.

    Divides its logits by temperatures that are fitted on validation photos. Training does so by itself, unless
    training.calibrate is none. Accuracies stay the same. What was evaluated is evaluated again; exports made before
    aren't replaced.
    """
    quiet_tensorflow()
    from clan_tf.evaluation import calibrate as calibrate_run

    result = calibrate_run(run, overrides or (), ConsoleProgress())
    if as_json:
        print_json(result.to_json())
        return
    before, after = result.fit.losses
    say(f"Calibrated: {result.fit}.")
    say(f"Negative log-likelihood of these photos: {before:.4f} with a temperature of 1, {after:.4f} now.")
    say(f"Model: {result.model}")
    if result.evaluated:
        say(f"Evaluated again: {', '.join(result.evaluated)}.")
    say(f"Next: clan-tf report {run}. Export again, by --force, what was exported before.")
