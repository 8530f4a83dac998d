"""`clan-tf report`."""

from pathlib import Path
from typing import Annotated

import typer

from clan_tf.cli.console import ConsoleProgress, JsonOption, SetOption, print_json, quiet_tensorflow, say, usable_path
from clan_tf.text import data_size


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", callback=usable_path, help="A run directory.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="FILE", callback=usable_path, help="The HTML file; by default RUN/report.html."
        ),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an HTML page about a run.

    It shows accuracies, mistakes and what the model looked at in them, calibration, and cost.
    """
    quiet_tensorflow()
    from clan_tf.report import write_report

    path = write_report(run, Path(output) if output else None, ConsoleProgress(), overrides or ())
    size = path.stat().st_size
    if as_json:
        print_json({"report": str(path), "bytes": size})
    else:
        say(f"Report: {path} ({data_size(size)}). Open it in a browser.")
