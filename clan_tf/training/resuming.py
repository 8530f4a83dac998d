"""Whether a run may go on: only as the same experiment on the same photos."""

from collections.abc import Callable

from clan_tf.config import Experiment
from clan_tf.data import Source
from clan_tf.environment import describe_computing
from clan_tf.errors import UserError
from clan_tf.run import RunDirectory

CHANGEABLE = (
    "training.accumulation",
    "training.device",
    "training.cluster",
    "training.checkpoint_minutes",
    "data.cache",
    "data.root",
)
"""Keys that say how a training is computed, not what. A run that goes on with others isn't the same bit for bit."""
_NOT_THE_SAME = "The run is resumed, but not bit for bit the same."


def resumed_experiment(run: RunDirectory, experiment: Experiment, note: Callable[[str], None]) -> Experiment:
    """The experiment to go on with: the run's own, with the given values of `CHANGEABLE` keys.

    Raises:
        UserError: naming the keys that differ from the run's.
    """
    own, given = run.experiment().flat(), experiment.flat()
    decided = {key for key in ("data.cache", "training.precision") if given[key] == "auto"}
    differing = [key for key in {**own, **given} if own.get(key) != given.get(key) and key not in decided]
    refused = [key for key in differing if key not in CHANGEABLE]
    if refused:
        lines = [f"  {key}: {own.get(key)!r} in the run, {given.get(key)!r} now" for key in refused]
        raise UserError("\n".join([f"{run.path}: is a run of another experiment; these keys differ:", *lines]))
    for key in differing:
        note(f"{key} is {given[key]} now and was {own[key]}: the run goes on, but not bit for bit the same")
    return _with_decided(experiment, run.experiment(), decided)


def note_other_computing(run: RunDirectory, note: Callable[[str], None]) -> None:
    """Notes what the last digits depend on and isn't as it was, and records it in `environment.json`.

    Args:
        run: the run that is resumed.
        note: told of each difference to when the run began, or to an earlier resume.
    """
    try:
        environment = run.read_environment()
    except UserError as error:
        note(f"{error} Whether this machine computes as the one before can't be told.")
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


def require_same_data(run: RunDirectory, source: Source) -> None:
    """Raises a `UserError` if photos were added, removed or moved since the run began."""
    began = run.read_data()
    if began["file_list_sha256"] != source.fingerprint():
        now = sum(map(len, source.splits.values()))
        raise UserError(
            f"{run.path}: the photos aren't those that the run began with (they were {sum(began['photos'].values())}, "
            f"and are {now}). Put them back, or train anew in another --run-dir."
        )


def _with_decided(experiment: Experiment, own: Experiment, decided: set[str]) -> Experiment:
    for key in decided:
        section, name = key.split(".")
        value = getattr(getattr(own, section), name)
        changed = getattr(experiment, section).model_copy(update={name: value})
        experiment = experiment.model_copy(update={section: changed})
    return experiment
