"""Photos that a run is measured on, and that the model was trained on which it starts from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from clan_tf.config import Experiment, with_values
from clan_tf.data import Source, read_source
from clan_tf.data.sources.cutting import with_digests
from clan_tf.errors import UserError, counted
from clan_tf.inference import locate_keras
from clan_tf.run import RunDirectory, find_run_above, read_run_split
from clan_tf.run.known import KnownPhotos, read_known
from clan_tf.text import command_line

CUT = ("split_seed", "test_fraction", "validation_fraction", "group", "folds", "fold")
"""Keys of `data` by which the same photos are cut into other splits."""
_GIVE_SPLITS = (
    "To keep its train photos train photos, give the data splits: folders train/ and test/, or the column split of a "
    "table"
)


class _Start(NamedTuple):
    """What an experiment starts from: the key that names it, its file, and its run, if any."""

    key: str
    file: Path
    run: RunDirectory | None

    def __str__(self) -> str:
        return f"the model that {self.key} names"


def _start(experiment: Experiment) -> _Start | None:
    """Returns the trained model that an experiment starts from, if it does; of `model.weights` only that of a run."""
    model = experiment.model
    if model.init is not None:
        located = locate_keras(model.init)
        return _Start("model.init", located.file, located.run)
    if model.weights in (None, "none", "imagenet"):
        return None
    file = Path(str(model.weights)).expanduser()
    run = find_run_above(file)
    return _Start("model.weights", file, run) if run else None


def known_by_start(experiment: Experiment) -> KnownPhotos | None:
    """Returns which photos the model knows that an experiment starts from: of its run, and of what that started from.

    Returns:
        The photos; `None` if the experiment starts from no model.
    """
    started = _start(experiment)
    if started is None:
        return None
    run = started.run
    if run is None:
        return KnownPhotos(unknown=f"{started.file} is in no run")
    try:
        split, start = read_run_split(run), run.read_environment().get("init")
        known = read_known(run)
    except UserError as error:
        return KnownPhotos(unknown=str(error).rstrip("."))
    if split is None:
        return replace(known, unknown=f"{run.path} has no splits.csv")
    if start and (reason := start.get("unknown")):
        known = replace(known, unknown=reason)
    elif start and not run.init_photos.is_file():
        known = replace(known, unknown=f"{run.path} started from {start['file']}, and doesn't say what that knew")
    digests = {name: [row.digest for row in split.used if row.split == name] for name in ("train", "val")}
    return known.with_run(digests["train"], digests["val"])


def notes_on_known(
    known: KnownPhotos | None, experiment: Experiment, digests: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yields notes on photos that the model knows from which a run starts, and that it is measured on, and the way out.

    Args:
        known: what `known_by_start` returned.
        experiment: what is trained.
        digests: of the photos by split, SHA-256 in hexadecimal.
    """
    started = _start(experiment) if known else None  # which may be gone when a run is resumed
    if known is None or started is None:
        return
    notes = [known.note(digests.get(split, ()), split, str(started)) for split in ("test", "val")]
    found = [note for note in notes if note]
    if found:
        keys = _cut_alike(known, started, experiment)
        found[-1] += f". To keep its splits: {keys}" if keys else f". {_GIVE_SPLITS}"
    yield from found
    if known.unknown and digests.get("test"):
        yield (
            f"which photos {started} was trained on isn't known in full, because {known.unknown}: if test photos are "
            "among them, the accuracy on them is higher than on new photos"
        )


def _cut_alike(known: KnownPhotos, started: _Start, experiment: Experiment) -> str:
    """Returns options that cut the photos as in that model's run; none unless its train photos stay so then."""
    run = started.run
    if run is None:
        return ""
    try:
        own, now = run.experiment().data, experiment.data
        values = {f"data.{name}": getattr(own, name) for name in CUT if getattr(own, name) != getattr(now, name)}
        digests = digests_of(read_source(with_values(experiment, values).data))
    except UserError:
        return ""
    if any(known.trained_on(each) for each in digests.values()):
        return ""
    return command_line(*(word for key in values for word in ("--set", f"{key}={json.dumps(values[key])}")))


def digests_of(source: Source) -> dict[str, list[str]]:
    """Returns the digests of the photos that a run is measured on, by split; reads those that aren't known."""
    return {
        split: [photo.digest for photo in with_digests(source.splits.get(split, ())) if photo.digest]
        for split in ("val", "test")
    }


def require_unseen_folds(experiment: Experiment, sources: Sequence[Source]) -> None:
    """Raises a `UserError` if cross-validation would test models on photos that their first weights know.

    Args:
        experiment: what is trained.
        sources: the photos of each fold.
    """
    started, known = _start(experiment), known_by_start(experiment)
    if started is None or known is None:
        return
    digests = [digest for source in sources for digest in digests_of(source)["test"]]
    if seen := known.trained_on(digests):
        keys = _cut_alike(known, started, with_values(experiment, {"data.folds": None, "data.fold": None}))
        raise UserError(
            f"--folds: {started} ({started.file}) was trained on {seen:,} of {counted(len(digests), 'photo')}, and "
            "each fold is to be tested by a model that hasn't seen it. Start from weights that haven't: --set "
            f"{started.key}=null. Or train once, without --folds, on the splits of that model"
            f"{f': {keys}' if keys else ''}."
        )
