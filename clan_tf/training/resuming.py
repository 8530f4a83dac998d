"""Whether a run may go on: only as the same experiment on the same photos."""

import json
from collections.abc import Callable

from clan_tf.config import Experiment
from clan_tf.data import Source
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


def require_same_data(run: RunDirectory, source: Source) -> None:
    """Raises a `UserError` if photos were added, removed or moved since the run began."""
    began = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
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
