"""What a search would do, and how long one epoch takes on this machine."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from clan_tf.config import Experiment, with_values
from clan_tf.progress import Progress
from clan_tf.search.checking import check_models, fit_to_experiment
from clan_tf.search.size import planned_epochs, planned_trials
from clan_tf.search.space import Parameter, Range, SearchConfig, values_of
from clan_tf.search.standing import shown_value
from clan_tf.training import train
from clan_tf.training.failures import resumed_as_part


@dataclass(frozen=True)
class SearchPlan:
    """What `search` would do.

    Attributes:
        space: the values of each key, and when it is used.
        trials: the maximum number of trials; `None` if only `hours` limits the search.
        epoch_seconds: measured seconds of one epoch of the unchanged experiment.
        seconds: seconds of all trials at that rate; `None` if their number isn't known.
    """

    space: dict[str, tuple[str, str]]
    trials: int | None
    epoch_seconds: float
    seconds: float | None


def plan_search(experiment: Experiment, search: SearchConfig, progress: Progress) -> SearchPlan:
    """Counts the trials, and trains one epoch in a temporary folder to measure how long it takes."""
    search = fit_to_experiment(search, experiment, "the search space")
    check_models(search, experiment, "the search space")
    epochs = experiment.training.epochs
    seconds = _measure_epoch(experiment, progress)
    planned = planned_epochs(search, epochs)
    total = None if planned is None else planned * seconds
    if search.hours is not None:
        total = min(total or float("inf"), 3600 * search.hours)
    space = {key: _describe(parameter) for key, parameter in search.parameters.items()}
    return SearchPlan(space, planned_trials(search, epochs), seconds, total)


def _measure_epoch(experiment: Experiment, progress: Progress) -> float:
    with tempfile.TemporaryDirectory() as folder, resumed_as_part(""):
        one = with_values(experiment, {"training.epochs": 1})
        return train(one, str(Path(folder) / "run"), progress=progress).outcome.seconds


def _describe(parameter: Parameter) -> tuple[str, str]:
    """Describes a parameter's values and conditions as text."""
    conditions = [f"{parent} is {' or '.join(map(shown_value, allowed))}" for parent, allowed in parameter.when.items()]
    values = values_of(parameter)
    if not isinstance(parameter, Range):
        return ", ".join(map(shown_value, values or ())), " and ".join(conditions)
    steps = f", in steps of {parameter.step:g}" if parameter.step else ""
    return (
        f"{parameter.min:g} … {parameter.max:g}, {parameter.sampling}{steps}",
        " and ".join(conditions),
    )
