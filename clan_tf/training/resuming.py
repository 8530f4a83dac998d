"""Whether a run may be resumed: only as the same experiment on the same photos."""

from collections.abc import Callable, Mapping, Sequence

from clan_tf.config import Experiment
from clan_tf.data import Source, place_of
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.environment import describe_computing
from clan_tf.errors import UserError, counted
from clan_tf.run import RunData, RunDirectory, read_run_data
from clan_tf.run.data import describe_missing
from clan_tf.run.splits import Match, folder_of, key_of
from clan_tf.taxonomy import Taxonomy
from clan_tf.text import printable

PLACES = ("data.root", "data.csv", "data.taxonomy", "data.relabel")
"""Keys that say where the photos and the tables of their classes and labels are; that these are the same is checked."""
CHANGEABLE = (
    "training.accumulation",
    "training.device",
    "training.cluster",
    "training.checkpoint_minutes",
    "data.cache",
    *PLACES,
)
"""Keys that say how a run is computed, not what. A run resumed with other values isn't bit for bit the same, except
for `PLACES`."""
_NOT_THE_SAME = "The run is resumed, but not bit for bit the same."


def resumed_experiment(run: RunDirectory, experiment: Experiment, note: Callable[[str], None]) -> Experiment:
    """Returns the experiment to resume: the run's own, with the given values of `CHANGEABLE` keys.

    Raises:
        UserError: naming the keys that differ from the run's.
    """
    own, given = run.experiment().flat(), experiment.flat()
    decided = experiment.undecided()
    differing = [key for key in {**own, **given} if own.get(key) != given.get(key) and key not in decided]
    refused = [key for key in differing if key not in CHANGEABLE]
    if refused:
        lines = [f"  {key}: {own.get(key)!r} in the run, {given.get(key)!r} now" for key in refused]
        lines.append("Give the run's values by --set, another --run-dir for a new run, or resume without a config.")
        raise UserError("\n".join([f"{run.path}: is a run of another experiment; these keys differ:", *lines]))
    for key in differing:
        # Wherever the photos are, their content shows that they are the same.
        effect = "" if key in PLACES else ": the run is resumed, but not bit for bit the same"
        note(f"{key} is {given[key]} now and was {own[key]}{effect}")
    return _with_decided(experiment, run.experiment(), decided)


def note_other_computing(run: RunDirectory, note: Callable[[str], None]) -> None:
    """Notes changes of what the last digits depend on, and records them in `environment.json`.

    Args:
        run: the run to resume.
        note: called with each difference from the run's start, or from an earlier resume.
    """
    try:
        environment = run.read_environment()
    except UserError as error:
        note(f"{error} Whether this machine computes as the previous one did is unknown.")
        return
    now, began, resumed = describe_computing(), environment["computing"], environment["resumed"]
    differing = [key for key in now if key in began and now[key] != began[key]]
    for key in differing:
        note(f"{key}: {now[key] or 'none'} now, {began[key] or 'none'} when the run began. {_NOT_THE_SAME}")
    between = {key for other in resumed for key in began if key in other and other[key] != began[key]}
    if between and not differing:
        note(f"An earlier resume had other {', '.join(sorted(between))} than when the run began. {_NOT_THE_SAME}")
    if now != (resumed[-1] if resumed else began):
        run.write_environment({**environment, "resumed": [*resumed, now]})


def resumed_data(run: RunDirectory, experiment: Experiment, source: Source | None = None) -> RunData:
    """Looks up the run's own photos, each in its split, in the data as it is now.

    Args:
        run: the run to resume.
        experiment: says where its photos are.
        source: the photos, if they have already been read.

    Raises:
        UserError: naming the photos that are missing, moved to another class or split, or have another box.
    """
    data = read_run_data(run, experiment.data, source)
    if data.split is None:
        _require_same_list(run, data.source)
    elif data.match is None:
        raise UserError(
            f"{place_of(experiment.data)} has none of the photos of the run {run.path}. Say where they are: "
            "--set data.root=FOLDER. Or train on other photos in another --run-dir."
        )
    else:
        _refuse(run, _differences(data.match))
    return data


def require_same_content(data: RunData, checked: Mapping[str, CheckedPhotos], note: Callable[[str], None]) -> None:
    """Raises a `UserError` naming photos whose content changed since the run began, or that can't be read now.

    Differences in photos that clan-tf draws itself are only noted: other library versions encode them differently.
    """
    if not (data.match and data.split and data.run):  # other data than a run's own
        return
    root, drawn = folder_of(data.config), data.config.source == "generated"
    first = {row.digest: row.photo for row in reversed(data.split.used)}
    differences = []
    for split, rows in data.match.rows.items():
        keys = [key_of(photo, root) for photo in checked[split].photos]
        now = dict(zip(keys, checked[split].digests, strict=True))
        for row in rows:
            if row.photo not in now:
                differences.append(f"{split}: {row.photo} can no longer be read")
            elif now[row.photo] != row.digest:
                other = first.get(now[row.photo])
                has = f"has the content that {other} had" if other else "has other content"
                differences.append(f"{split}: {row.photo} {has}")
    if drawn and differences:
        drawn_photos = counted(len(differences), "drawn photo")
        note(f"{drawn_photos} differ from the run's: it is resumed, but not bit for bit the same")
    else:
        _refuse(data.run, differences)


def require_same_taxonomy(run: RunDirectory, taxonomy: Taxonomy | None) -> None:
    """Raises a `UserError` unless the taxonomy is the one that the run began with."""
    if run.read_data().get("taxonomy", []) != (taxonomy.to_table() if taxonomy else []):
        raise UserError(
            f"{run.path}: data.taxonomy isn't the taxonomy that the run began with, which is in data.json. Restore it, "
            "or train again in another --run-dir."
        )


def _differences(found: Match) -> list[str]:
    lines = [f"{row.split}: {describe_missing(row, found)} is missing" for row in found.missing]
    lines += [f"{row.split}: {row.photo} was {row.class_name!r} and is {now!r}" for row, now in found.relabelled]
    lines += [f"{row.split}: {row.photo} is now in the split {place}" for row, place in found.moved]
    return lines + [f"{row.split}: {row.photo} has another box" for row in found.reboxed]


def _refuse(run: RunDirectory, differences: Sequence[str], most: int = 20) -> None:
    if not differences:
        return
    more = [f"  … and {len(differences) - most} more"] if len(differences) > most else []
    raise UserError(
        "\n".join(
            [
                f"{run.path}: {counted(len(differences), 'photo')} of the run changed since it began:",
                *(f"  {line}" for line in map(printable, differences[:most])),
                *more,
                "Restore them, or train again in another --run-dir.",
            ]
        )
    )


def _require_same_list(run: RunDirectory, source: Source) -> None:
    """Raises a `UserError` if photos of a run without `splits.csv` were added, removed or moved since it began."""
    began = run.read_data()
    if began["file_list_sha256"] != source.fingerprint():
        now = sum(map(len, source.splits.values()))
        raise UserError(
            f"{run.path}: the photos aren't those that the run began with (they were {sum(began['photos'].values())}, "
            f"and are {now}), or an earlier version split them differently. Train again in another --run-dir."
        )


def _with_decided(experiment: Experiment, own: Experiment, decided: set[str]) -> Experiment:
    for key in decided:
        section, name = key.split(".")
        value = getattr(getattr(own, section), name)
        changed = getattr(experiment, section).model_copy(update={name: value})
        experiment = experiment.model_copy(update={section: changed})
    return experiment
