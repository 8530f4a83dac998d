"""`clan-tf data labels`."""

import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    JsonOption,
    percent,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
    usable_path,
)
from clan_tf.cli.experiment import ExperimentArguments, as_yaml, with_experiment
from clan_tf.errors import counted
from clan_tf.text import command_line

if TYPE_CHECKING:
    from clan_tf.labels import LabelReport

_MOST_PHOTOS = 20
"""How many photos are printed."""


@with_experiment
def data_labels(
    experiment: ExperimentArguments,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="Which photos are ranked: train, val, test or all. They are judged by each other and by train photos.",
        ),
    ] = "train",
    folds: Annotated[
        int,
        typer.Option(
            "--folds", metavar="N", min=2, max=20, help="Each photo is judged by a model that didn't see its fold."
        ),
    ] = 5,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="D",
            callback=usable_path,
            help="New or empty folder for labels.csv and labels.html; by default labels, or labels-2 and so on.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find photos that are probably mislabelled, by confident learning. Changes no photos.

    Writes all photos, the worst first, to labels.csv, whose column label you fill in where a label is wrong, for
    data.relabel; and the worst beside typical ones to labels.html.
    """
    loaded = experiment.load()
    quiet_tensorflow()
    from clan_tf.files import new_or_filled_folder
    from clan_tf.labels import find_mislabelled, write_labels
    from clan_tf.report.labels import write_label_page

    folder = Path(output or _free_folder())
    progress = ConsoleProgress()
    with new_or_filled_folder(folder.absolute()) as temporary:
        report = find_mislabelled(loaded, split, folds, progress)
        write_labels(temporary / "labels.csv", report)
        write_label_page(temporary / "labels.html", report, progress)
    table = str(folder / "labels.csv")
    next_command = command_line("clan-tf", "train", *experiment.words, "--set", f"data.relabel={as_yaml(table)}")
    if as_json:
        print_json(report.to_json() | {"output": str(folder), "next": next_command})
    else:
        _print(report, folder, next_command)


def _print(report: "LabelReport", folder: Path, next_command: str) -> None:
    for note in report.notes:
        say(note)
    worst = report.photos[:_MOST_PHOTOS]
    rows = [
        (photo.name, photo.given, photo.suggested, f"{photo.quality:.3f}", "yes" if photo.is_issue else "")
        for photo in worst
    ]
    columns = ("photo", "labelled", "looks like", "quality", "probably wrong")
    print_table(f"{report.experiment.name}: the {counted(len(worst), 'label')} to check first", columns, rows)
    say(
        f"The labels of {len(report.issues):,} of {counted(len(report.photos), 'photo')} are probably wrong; the quick "
        f"model agrees with {percent(report.agreement)} of them."
    )
    say(f"Look at {folder / 'labels.html'}, and write the right class into the column label of {folder / 'labels.csv'}")
    say(f"where a label is wrong, or - to leave the photo out. Then:\n  {next_command}")


def _free_folder() -> str:
    """Returns the first of `labels`, `labels-2` … that doesn't exist."""
    names = ("labels" if number == 1 else f"labels-{number}" for number in count(1))
    return next(name for name in names if not os.path.lexists(name))
