"""`clan-tf explain`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from clan_tf.cli.branches import branch_names, branches_option
from clan_tf.cli.console import (
    ConsoleProgress,
    JsonOption,
    TrainedModelArgument,
    print_json,
    print_table,
    quiet_tensorflow,
    require_all,
    say,
    usable_path,
)
from clan_tf.errors import UserError, counted
from clan_tf.text import printable


def explain(
    model: TrainedModelArgument,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", callback=require_all, help="Photos, and folders of photos.")
    ],
    output: Annotated[str, typer.Option("--output", metavar="D", callback=usable_path, help="The folder to make.")],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="X,Y", help="A pixel of the upright photo, to show what its position is related to."
        ),
    ] = None,
    branches: Annotated[str | None, branches_option("Grad-CAM of these branches only.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="CLASS", help="The class to explain; by default the predicted one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a model looks at, by heat maps over photos.

    Writes them as arrays, too. Exits with 1 if a photo couldn't be read.
    """
    position, chosen = None if at is None else _position(at), branch_names(branches)
    quiet_tensorflow()
    from clan_tf.explain import explain_photos

    results = explain_photos(model, paths, Path(output), position, chosen, label, ConsoleProgress())
    failed = [result for result in results if "error" in result]
    if as_json:
        print_json(results)
    else:
        rows = [
            (printable(result["path"]), f"skipped: {result['error']}", "")
            if "error" in result
            else (printable(result["path"]), printable(result["label"]), f"{100 * result['probability']:.1f} %")
            for result in results
        ]
        print_table("Explained photos", ("photo", "label", "probability"), rows)
        explained = counted(len(results) - len(failed), "photo")
        say(f"{explained} explained, {len(failed):,} skipped. Pictures and arrays: {output}")
    if failed:
        raise typer.Exit(1)


def _position(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"\d+,\d+", text):
        raise UserError(f"--at: must be X,Y in pixels of the upright photo, such as 120,80; received {text!r}.")
    x, y = text.split(",")
    return int(x), int(y)
