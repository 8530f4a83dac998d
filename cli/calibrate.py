"""`clan-tf calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from clan_tf.cli.console import ConsoleProgress, JsonOption, SetOption, print_json, quiet_tensorflow, say, usable_path
from clan_tf.errors import listed
from clan_tf.text import command_line


def calibrate(
    run: Annotated[str, typer.Argument(metavar="RUN", callback=usable_path, help="The directory of a finished run.")],
    accept_error: Annotated[
        float | None,
        typer.Option(
            "--accept-error",
            metavar="E",
            help="Withhold answers, so that at most this share of the others is wrong, such as 0.05; 1 gives all.",
        ),
    ] = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="A threshold for each class that has enough photos.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate probabilities, and let a model withhold unsure answers.

    Divides its logits by temperatures that are fitted on validation photos. Training does so by itself, unless
    training.calibrate is none. Accuracies stay the same. With --accept-error also finds the probability below which an
    answer is withheld (training.accept_error does so in training). What was evaluated is evaluated again; exports made
    before aren't replaced.
    """
    quiet_tensorflow()
    from clan_tf.evaluation import calibrate as calibrate_run

    result = calibrate_run(run, overrides or (), ConsoleProgress(), accept_error, per_class)
    if as_json:
        print_json(result.to_json())
        return
    if isinstance(result.fit, str):
        say(f"Temperatures stay as they were: {result.fit}.")
    else:
        before, after = result.fit.losses
        say(f"Calibrated: {result.fit}.")
        say(f"Negative log-likelihood of these photos: {before:.4f} with a temperature of 1, {after:.4f} now.")
    if result.rejection:
        say(f"Answers are {result.rejection}.")
        if per_class:
            say(f"Classes with a threshold of their own: {len(result.rejection.own)}; others have too few photos.")
    if result.never:
        say(f"Never answered, for too few photos or too many mistakes: {listed(result.never)}.")
    say(f"Model: {result.model}")
    if result.evaluated:
        say(f"Evaluated again: {', '.join(result.evaluated)}.")
    if result.outdated:
        say(f"Exports of the model before, to be made again by --force: {', '.join(map(str, result.outdated))}.")
    say(f"Next: {command_line('clan-tf', 'report', Path(run))}")
