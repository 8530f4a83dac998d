"""`clan-tf predict`."""

import math
import os
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    JsonOption,
    ModelArgument,
    print_json,
    print_table,
    quiet_tensorflow,
    require_all,
    say,
    usable_path,
)
from clan_tf.errors import UserError, counted
from clan_tf.text import printable

Results = list[dict[str, Any]]


def predict(
    model: ModelArgument,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", callback=require_all, help="Photos, and folders of photos.")
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels per photo.")] = 5,
    csv: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", callback=usable_path, help="Write a row per photo to this .csv file; replaces it."
        ),
    ] = None,
    sort_into: Annotated[
        str | None,
        typer.Option(
            "--sort-into",
            metavar="D",
            callback=usable_path,
            help="Copy the photos into D/LABEL/, and list them in D/predictions.csv. D must be new or empty.",
        ),
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="With --sort-into: symbolic links instead of copies.")] = False,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            metavar="auto|NAME",
            help="Answer on a level of the model's taxonomy (data.taxonomy): a label's probability is the sum of its "
            "classes'. auto: for each photo, on the finest level with a label of at least --unsure-below, else on the "
            "coarsest.",
        ),
    ] = None,
    unsure_below: Annotated[
        float | None,
        typer.Option(
            "--unsure-below",
            metavar="P",
            help="Withhold labels that are less probable; with --sort-into such photos go into D/_unsure/. By default "
            "what calibrate --accept-error found; without it 0.5 to sort, 0.9 for --level auto, else all are given.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict labels of photos and folders of photos. Exits with 1 if a photo couldn't be read."""
    _require_possible(csv, sort_into, link, unsure_below)
    from clan_tf.files import new_or_filled_folder
    from clan_tf.inference import UNSURE_BELOW, locate, sort_photos, write_predictions
    from clan_tf.inference import predict as predict_photos

    progress = ConsoleProgress()
    otherwise = UNSURE_BELOW if sort_into is not None and level != "auto" else None
    with new_or_filled_folder(Path(sort_into)) if sort_into is not None else nullcontext() as folder:
        if not locate(model).is_exported:
            quiet_tensorflow()
        results = predict_photos(
            model, paths, top, progress, level=level, unsure_below=unsure_below, unsure_otherwise=otherwise
        )
        # First, so that it is there if the disk is too full for the copies.
        if csv is not None:
            write_predictions(Path(csv), results)
        if folder and sort_into is not None:
            results = sort_photos(results, folder, Path(sort_into), link, progress)
    if as_json:
        print_json(results)
    else:
        _print(results, csv, sort_into, link)
    if any("error" in result for result in results):
        raise typer.Exit(1)


def _require_possible(csv: str | None, sort_into: str | None, link: bool, unsure_below: float | None) -> None:
    """Raises a `UserError` for options that don't go together, and for outputs that can't be written."""
    if sort_into is None and link:
        raise UserError("--link: says how photos are sorted; add --sort-into D.")
    if unsure_below is not None and (math.isnan(unsure_below) or not 0 <= unsure_below <= 1):
        raise UserError(f"--unsure-below: must be a probability from 0 to 1; received {unsure_below:g}.")
    if csv is not None:
        from clan_tf.inference import require_table_path

        if sort_into is not None and Path(os.path.realpath(csv)).is_relative_to(os.path.realpath(sort_into)):
            raise UserError(f"--csv: {csv} is in the folder of --sort-into, which gets its own table. Name another.")
        require_table_path(Path(csv), "--csv")


def _print(results: Results, csv: str | None, sort_into: str | None, link: bool) -> None:
    """Prints the labels of all photos or, if they were written somewhere, a summary and the photos with errors."""
    if csv is None and sort_into is None:
        levels = ("level",) if any("level" in result for result in results) else ()
        print_table("Predictions", ("photo", "label", "probability", *levels), _rows(results, bool(levels)))
        return
    if sort_into is not None:
        print_table("Sorted photos", ("label", "photos"), _counts(results))
    failed = [(printable(result["path"]), result["error"]) for result in results if "error" in result]
    if failed:
        print_table("Photos with errors", ("photo", "error"), failed)
    predicted = sum("predictions" in result for result in results)
    unsure = sum("reason" in result for result in results)
    say(f"{counted(predicted, 'photo')} predicted, {unsure:,} unsure, {len(results) - predicted:,} couldn't be read.")
    if csv is not None:
        say(f"Predictions: {csv}")
    if sort_into is not None:
        files = counted(len({result["file"] for result in results if "file" in result}), "photo")
        say(f"{files} {'linked' if link else 'copied'}, listed in {Path(sort_into) / 'predictions.csv'}")


def _counts(results: Results) -> list[tuple[str, str]]:
    """Counts the files made for each label, and says which folder they are in where it isn't called like the label."""
    from clan_tf.inference import UNSURE

    labels = {result["file"]: result["predictions"][0]["label"] for result in results if "file" in result}
    rows: Counter[tuple[bool, str]] = Counter()
    for file, label in labels.items():
        folder = Path(file).parent.name
        name = f"unsure (in {UNSURE})" if folder == UNSURE else label if folder == label else f"{label} (in {folder})"
        rows[folder == UNSURE, printable(name)] += 1
    return [(name, f"{number:,}") for (_, name), number in sorted(rows.items())]


def _rows(results: Results, has_levels: bool) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for result in results:
        if "error" in result:
            rows.append((printable(result["path"]), f"error: {result['error']}", ""))
        for index, prediction in enumerate(result.get("predictions", ())):
            path = printable(result["path"]) if index == 0 else ""
            is_answer = index > 0 or result["label"] is not None
            label = printable(prediction["label"])
            rows.append((path, label if is_answer else f"unsure: {label}", f"{100 * prediction['probability']:.1f} %"))
            if index == 0 and has_levels:
                rows[-1] += (printable(result["level"]),)
    return [(*row, *[""] * (3 + has_levels - len(row))) for row in rows]
