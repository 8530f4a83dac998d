"""`clan-tf data check`."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    JsonOption,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
    usable_path,
)
from clan_tf.cli.experiment import DEMO, ExperimentArguments, as_yaml, with_experiment
from clan_tf.errors import UserError, counted
from clan_tf.text import command_line, printable

if TYPE_CHECKING:
    from clan_tf.config import Experiment
    from clan_tf.data import Photo, Source
    from clan_tf.data.check import DataReport, Quarantine
    from clan_tf.data.check.report import Pair

_MOST_CLASSES = 20
"""The maximum number of classes that are listed one by one."""


@with_experiment
def data_check(
    experiment: ExperimentArguments,
    quarantine: Annotated[
        str | None,
        typer.Option(
            "--quarantine",
            metavar="FILE",
            callback=usable_path,
            help="Write a list of photos to exclude, for data.quarantine: all that can't be read; train and validation "
            "photos whose picture is also in test; all but one of other copies; and all copies of a picture with "
            "different labels. Test photos stay, unless they can't be read. Checks all photos, including those that "
            "data.quarantine or data.fraction exclude now.",
        ),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples",
            metavar="D",
            callback=usable_path,
            help="Write grids of train photos: by class, and as training sees them.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find broken and odd photos, copies, leaks and conflicting labels. Changes no photos.

    Exits with 1 if there are broken photos, leaks or copies with different labels, or if a training run couldn't start.
    """
    loaded = experiment.load(DEMO)
    quiet_tensorflow()
    from clan_tf.data import survey_source
    from clan_tf.data.check import check_data
    from clan_tf.data.sources.source import folder_of

    _require_writable(quarantine, samples)
    data = loaded.data.model_copy(update={"quarantine": None, "fraction": 1.0} if quarantine else {})
    source = survey_source(data)
    report = check_data(source, ConsoleProgress(), loaded)
    written = _write_quarantine(Path(quarantine), source, report, folder_of(data)) if quarantine else None
    if as_json:
        answer = report.to_json() | {"can_start": report.can_start(loaded.data.on_broken)}
        print_json(answer | {"quarantine": written and {"path": quarantine, "photos": len(written.names)}})
    else:
        arguments = experiment.words or [DEMO]
        _print_report(loaded, report)
        if written and quarantine:
            _print_written(loaded, written, quarantine, arguments)
        else:
            _print_next(loaded, source, report, arguments)
    if samples:  # last, so that whatever fails the report is there
        _write_samples(Path(samples), source, report, loaded)
    if report.failed:
        raise typer.Exit(1)


def _require_writable(quarantine: str | None, samples: str | None) -> None:
    """Raises a `UserError` if the output can't be written, before the photos are checked."""
    from clan_tf.data.check.quarantine import require_quarantine
    from clan_tf.files import require_folder_or_nothing

    if quarantine:
        require_quarantine(Path(quarantine))
        require_folder_or_nothing("--quarantine", Path(quarantine).absolute().parent)
    if samples:
        require_folder_or_nothing("--samples", Path(samples).absolute())


def _write_quarantine(path: Path, source: "Source", report: "DataReport", folder: str | None) -> "Quarantine":
    from clan_tf.data.check import choose_quarantined, write_quarantine

    chosen = choose_quarantined(source, report)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_quarantine(path, chosen, folder)
    return chosen


def _write_samples(folder: Path, source: "Source", report: "DataReport", experiment: "Experiment") -> None:
    from clan_tf.data.checked_photos import check_photos
    from clan_tf.data.pipeline.samples import write_augmented_samples, write_samples

    photos = _first_readable(source, report)
    if not photos:
        ConsoleProgress().note("--samples: there is no train photo that can be read, so no grids are written.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    checked = check_photos(photos)
    write_samples(checked, source.class_names, folder / "classes.png")
    write_augmented_samples(checked, source.class_names, experiment, folder / "augmented.png")


def _first_readable(source: "Source", report: "DataReport", per_class: int = 6, classes: int = 20) -> list["Photo"]:
    """Returns the first readable train photos of the first classes."""
    broken = {entry["path"] for entry in report.broken}
    chosen: dict[int, list[Photo]] = {label: [] for label in range(min(classes, len(source.class_names)))}
    for photo in source.splits.get("train", ()):
        row = chosen.get(photo.label)
        if row is not None and len(row) < per_class and photo.name not in broken:
            row.append(photo)
    return [photo for row in chosen.values() for photo in row]


def _print_report(experiment: "Experiment", report: "DataReport") -> None:
    from clan_tf.data.sources.source import folder_of

    for note in report.notes:
        say(note)
    counts = {split: classes for split, classes in report.counts.items() if any(classes.values())}
    total = sum(sum(classes.values()) for classes in counts.values())
    print_table(
        f"{experiment.name}: {total:,} photos, {len(report.counts['train'])} classes",
        ("split", "photos", "fewest of a class", "most of a class"),
        [
            (split, f"{sum(classes.values()):,}", _extreme(classes, min), _extreme(classes, max))
            for split, classes in counts.items()
        ],
    )
    _print_classes(counts)
    _print_images(report.images)
    found = _found(report, folder_of(experiment.data))
    if found:
        rows = [(what, f"{len(entries):,}", _examples(entries)) for what, entries in found.items()]
        print_table("Found", ("what", "photos or pairs", "such as"), rows)
    if report.across_cut:
        say(
            f"{counted(len(report.across_cut), 'pair')} across train and val: clan-tf split these photos from "
            "train at random, so this is no leak in the data, but validation accuracy will be slightly too high."
        )


def _print_classes(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Prints photos by class and split, for all classes or those with the fewest train photos."""
    classes = dict.fromkeys(name for split in counts.values() for name in split)
    rows = [(name, [split.get(name, 0) for split in counts.values()]) for name in classes]
    title = "Photos by class"
    if len(rows) > _MOST_CLASSES:
        title = f"The {_MOST_CLASSES} classes with the fewest {next(iter(counts))} photos; --json lists all"
        rows = sorted(rows, key=lambda row: row[1][0])[:_MOST_CLASSES]
    print_table(title, ("class", *counts), [(name, *(f"{count:,}" for count in row)) for name, row in rows])


def _extreme(classes: Mapping[str, int], choose: Callable[..., str]) -> str:
    """Describes the smallest or largest count of photos, with its class unless all classes have the same count."""
    name = choose(classes, key=classes.__getitem__)
    return f"{classes[name]} ({name})" if len(set(classes.values())) > 1 else str(classes[name])


def _print_images(images: Mapping[str, Any]) -> None:
    if images["width"]:
        names = ("min", "median", "max")
        rows = [(side, *(f"{images[side][name]:,}" for name in names)) for side in ("width", "height")]
        print_table("Pixels", ("", "smallest", "median", "largest"), rows)
    for what in ("modes", "formats"):
        say(f"{what.capitalize()}: " + ", ".join(f"{name} {count:,}" for name, count in images[what].items()))


def _found(report: "DataReport", folder: str | None) -> dict[str, list[str]]:
    """Returns a line for each finding, by kind, the worst kinds first."""
    from clan_tf.data.sources.source import relative_name

    def named(path: str) -> str:
        return printable(relative_name(path, folder))

    def equation(pair: "Pair") -> str:
        return f"{named(pair.a)} = {named(pair.b)}"

    def within(pair: "Pair") -> str:
        return "-".join(dict.fromkeys(pair.splits))

    lines = [("stops training", problem) for problem in report.problems]
    lines += [("broken", f"{named(entry['path'])}: {entry['problem']}") for entry in report.broken]
    lines += [(f"leak {'-'.join(pair.splits)}, {pair.kind}", equation(pair)) for pair in report.leaks]
    lines += [(f"group {'-'.join(group.photos)}", printable(str(group))) for group in report.divided_groups]
    lines += [("labels differ", f"{equation(pair)} ({' / '.join(pair.labels)})") for pair in report.conflicts]
    lines += [(f"duplicate {within(pair)}, {pair.kind}", equation(pair)) for pair in report.duplicates]
    lines += [(entry["kind"].replace("_", " "), f"{named(entry['path'])}: {entry['detail']}") for entry in report.odd]
    for item in report.left_out:
        what = f": {counted(item.files, 'file')}" if item.is_folder or item.files > 1 else ""
        lines.append((f"left out, {item.reason.replace('_', ' ')}", f"{named(item.path)}{what}"))
    if any(report.counts["test"].values()):
        lines += [("no test photos", name) for name in report.classes_without_test]
    found: dict[str, list[str]] = {}
    for what, line in lines:
        found.setdefault(what, []).append(line)
    return found


def _examples(entries: Sequence[str], most: int = 2) -> str:
    return "\n".join([*entries[:most], "…"] if len(entries) > most else entries)


def _print_written(experiment: "Experiment", written: "Quarantine", path: str, arguments: list[str]) -> None:
    """Prints what to do next, once the list of photos to exclude is written."""
    from clan_tf.config import with_values
    from clan_tf.data import survey_source
    from clan_tf.data.check import training_problems
    from clan_tf.data.check.readiness import fitting_batch

    say(f"{path}: {counted(len(written.names), 'photo')} to exclude.")
    if written.emptied:
        say(f"No train photo would be left of {', '.join(written.emptied)}: fix or add photos first.")
    cleaned = with_values(experiment, {"data.quarantine": path})
    without = [*arguments, "--set", f"data.quarantine={as_yaml(path)}"]
    source = survey_source(cleaned.data)
    problems = training_problems(cleaned, source)
    if problems:
        _print_problems(problems, fitting_batch(cleaned, source), without)
    else:
        _print_command("Review it, then:", ["train", *without])


def _print_next(experiment: "Experiment", source: "Source", report: "DataReport", arguments: list[str]) -> None:
    """Prints what to do after the report; a command is printed only if it would run."""
    from clan_tf.data.check.readiness import fitting_batch

    broken = {entry["path"] for entry in report.broken}
    found = report.broken or report.leaks or report.conflicts
    if report.problems:
        _print_problems(report.problems, fitting_batch(experiment, source, broken), arguments)
    if found:
        skipped = "are skipped (data.on_broken)" if experiment.data.on_broken == "skip" else "stop training"
        say(f"Broken photos {skipped}; leaks and wrong labels distort its accuracies. --json lists them all.")
        quarantine = ["data", "check", *arguments, "--quarantine", _free_list()]
        _print_command("Fix them, or write a list of photos to exclude:", quarantine)
    elif report.divided_groups:
        say("Groups in several splits (data.group) distort its accuracies. Move their photos into one split, or remove")
        say("the splits: then clan-tf cuts them. --json lists all groups.")
    elif not report.problems:
        _print_command("The photos are ready for training:", ["train", *arguments])


def _print_problems(problems: Sequence[str], batch: Mapping[str, int], arguments: list[str]) -> None:
    """Prints why training can't start, and a command that works if only the batch is too large."""
    say("Training can't start on these photos:")
    for problem in problems:
        say(f"  {problem}")
    if batch:
        smaller = [word for key, value in batch.items() for word in ("--set", f"{key}={value}")]
        _print_command("It can with a smaller batch:", ["train", *arguments, *smaller])


def _print_command(heading: str, words: Sequence[str]) -> None:
    say(heading)
    say(f"  {command_line('clan-tf', *words)}")


def _free_list(name: str = "quarantine.txt") -> str:
    """Returns an unused name for a quarantine list."""
    from clan_tf.data.check.quarantine import require_quarantine

    for number in count(1):
        path = name if number == 1 else f"quarantine-{number}.txt"
        try:
            require_quarantine(Path(path))
            break
        except UserError:
            continue
    return path
