"""Whether training can start on some photos: one verdict for `data check` and `train`."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from clan_tf.config import Experiment, with_values
from clan_tf.config.section import AUTO
from clan_tf.data.check.class_weights import class_weight_problems
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import steps_per_epoch
from clan_tf.data.sources import SPLITS, Photo, Source
from clan_tf.data.sources.cutting import WAYS_OUT, has_groups, units_by_label
from clan_tf.data.sources.taxonomy_table import read_taxonomy
from clan_tf.errors import UserError, counted, listed

ONE_PHOTO_FOR_HEADS = (
    "training.batch_size: the heads normalise their features over the photos that are computed at a time, which is "
    "one. Use larger batches or fewer parts (training.accumulation), or model.head_batch_norm=false."
)


def divided_pair(experiment: Experiment, replicas: int = 1) -> str | None:
    """Describes a batch size that would divide two photos that stand side by side as a pair; `None` if it doesn't.

    Args:
        experiment: with a number for `training.batch_size`.
        replicas: how many devices share a batch.
    """
    training = experiment.training
    unit = replicas * experiment.batch_unit
    if experiment.sampling != "pairs" or training.batch_size % unit == 0:
        return None
    shared = f" on {replicas} devices" if replicas > 1 else ""
    parts = f" in {training.parts} parts" if training.parts > 1 else ""
    return (
        f"training.batch_size: {training.batch_size}{shared}{parts} divides a pair of photos of a class, which "
        f"data.sampling: {experiment.data.sampling} puts side by side. Use a multiple of {unit}."
    )


def training_problems(experiment: Experiment, source: Source, broken: Collection[str] = ()) -> list[str]:
    """Returns what keeps training from starting on these photos, one sentence per problem.

    Args:
        experiment: whose classes and batch size count.
        source: the photos.
        broken: names of photos that can't be read.
    """
    if source.problems:
        return list(source.problems)
    readable = _readable(source, broken)
    problems = [
        *_class_count(experiment, source),
        *_emptied(source, readable),
        *taxonomy_findings(experiment, source)[0],
    ]
    problems += class_weight_problems(experiment.training.class_weights, source.class_names)
    if not source.splits.get("val"):
        problems.append(_no_validation(source))
    return problems or list(_batch_size(experiment, readable["train"]))


def taxonomy_findings(experiment: Experiment, source: Source) -> tuple[list[str], list[str]]:
    """Returns what is wrong with `data.taxonomy`, and what a user should know about it."""
    notes: list[str] = []
    try:
        read_taxonomy(experiment.data, source.class_names, notes.append)
    except UserError as error:
        return [str(error)], []
    return [], notes


def require_ready(experiment: Experiment, source: Source, checked: Mapping[str, CheckedPhotos] | None = None) -> None:
    """Raises a `UserError` with all `training_problems` of the checked photos that can be read."""
    broken: set[str] = set()
    if checked is not None:
        readable = {photo.name for photos in checked.values() for photo in photos.photos}
        broken = {photo.name for photos in source.splits.values() for photo in photos} - readable
    problems = training_problems(experiment, source, broken)
    if problems:
        raise UserError("\n".join(problems))


def fitting_batch(experiment: Experiment, source: Source, broken: Collection[str] = ()) -> dict[str, int]:
    """Returns the keys and values with which training can start, if only the batch is too large for the photos."""
    photos, unit = len(_readable(source, broken)["train"]), experiment.batch_unit
    if not photos or experiment.training.batch_size == AUTO or experiment.training.batch_size <= photos:
        return {}
    batch = {"training.batch_size": photos // unit * unit}
    if photos < unit * (1 + experiment.model.heads_are_normalised):
        pairs = unit // experiment.training.parts
        batch = {"training.batch_size": photos // pairs * pairs, "training.accumulation": 1}
    if not batch["training.batch_size"]:
        return {}
    return {} if training_problems(with_values(experiment, batch), source, broken) else batch


def _readable(source: Source, broken: Collection[str]) -> dict[str, list[Photo]]:
    return {split: [photo for photo in source.splits.get(split, ()) if photo.name not in broken] for split in SPLITS}


def _class_count(experiment: Experiment, source: Source) -> Iterator[str]:
    said, found = experiment.data.classes, len(source.class_names)
    if said is not None and said != found:
        yield (
            f"data.classes: is {said}, and the data has {found} classes. Correct it, or leave it out "
            "(--set data.classes=null)."
        )


def _emptied(source: Source, readable: Mapping[str, Sequence[Photo]]) -> Iterator[str]:
    """Yields a problem for each class or split of which too few readable photos remain."""
    left = {photo.label for photo in readable["train"]}
    lost = [name for label, name in enumerate(source.class_names) if label not in left]
    if lost:
        yield f"No train photo of {listed(lost)} can be read. Mend or add photos, or leave the class out."
    for split in ("val", "test"):
        if source.splits.get(split) and not readable[split]:
            yield f"No {split} photo can be read. Mend or add photos."


def _no_validation(source: Source) -> str:
    if source.unused.get("quarantined", {}).get("val"):
        return "data.quarantine: leaves no validation photo. Take some out of the list, or add photos."
    train = source.splits["train"]
    most = max(map(len, units_by_label(train).values()), default=0)
    if has_groups(train):
        return (
            "data.group: leaves no validation photos, because no group can be cut off: a class has "
            f"{counted(most, 'group')} at most. Choose smaller groups, or give the data splits of its own."
        )
    left = "one photo" if most == 1 else f"{most} different photos"
    test = " after a test photo" if source.splits.get("test") else ""
    return (
        f"There are no validation photos, and no class has photos enough to cut one{test}: a class has {left} left at "
        f"most. {WAYS_OUT}"
    )


def _batch_size(experiment: Experiment, train: Sequence[Photo]) -> Iterator[str]:
    if experiment.training.batch_size == AUTO:
        return
    try:
        steps_per_epoch(len(train), experiment.training.batch_size)
    except UserError as error:
        yield str(error)
    training = experiment.training
    if experiment.model.heads_are_normalised and training.batch_size == training.parts:
        yield ONE_PHOTO_FOR_HEADS
    if problem := divided_pair(experiment):
        yield problem
