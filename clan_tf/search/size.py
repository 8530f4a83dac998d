"""The size of a search, before it runs."""

import math
from functools import cache

from clan_tf.search.hyperparameters import make_hyperparameters
from clan_tf.search.space import SearchConfig

HYPERBAND_FACTOR = 3


def planned_trials(search: SearchConfig, epochs: int) -> int | None:
    """Returns the maximum number of trials; `None` if only `hours` limits the search.

    Args:
        search: what is searched.
        epochs: the experiment's number of epochs; for Hyperband, the maximum.
    """
    plans = [number for number in (search.trials, _own_number(search, epochs)) if number is not None]
    return min(plans, default=None)


def planned_epochs(search: SearchConfig, epochs: int) -> int | None:
    """Counts the epochs of all runs of a search."""
    if search.algorithm == "hyperband":
        brackets = hyperband_brackets(epochs)
        return search.repeats * sum(size * each for rounds in brackets for size, each in rounds)
    trials = planned_trials(search, epochs)
    return None if trials is None else search.repeats * trials * epochs


def hyperband_brackets(epochs: int, factor: int = HYPERBAND_FACTOR) -> list[list[tuple[int, int]]]:
    """Returns the rounds of each bracket of KerasTuner's Hyperband, as pairs of trials and epochs."""
    count = 0
    while epochs / factor**count >= 1:
        count += 1
    largest = math.ceil(1 + math.log(epochs, factor))
    return [
        [
            (
                math.ceil(largest / (bracket + 1) * factor ** (bracket - number)),
                math.ceil(epochs / factor ** (bracket - number)),
            )
            for number in range(bracket + 1)
        ]
        for bracket in reversed(range(count))
    ]


def _own_number(search: SearchConfig, epochs: int) -> int | None:
    if search.algorithm == "grid":
        return grid_size(search)
    if search.algorithm == "hyperband":
        return sum(size for rounds in hyperband_brackets(epochs) for size, _ in rounds)
    return None


def grid_size(search: SearchConfig) -> int:
    """Counts the combinations whose conditions are met."""
    space = make_hyperparameters(search).space
    values = {parameter.name: list(parameter.values) for parameter in space}
    conditions = {parameter.name: parameter.conditions for parameter in space}
    parents = {condition.name for each in conditions.values() for condition in each}
    names = list(values)

    def count(index: int, chosen: tuple[tuple[str, object], ...]) -> int:
        if index == len(names):
            return 1
        name = names[index]
        if not all(condition.is_active(dict(chosen)) for condition in conditions[name]):
            return count(index + 1, chosen)
        if name not in parents:
            return len(values[name]) * count_once(index + 1, chosen)
        return sum(count_once(index + 1, (*chosen, (name, value))) for value in values[name])

    count_once = cache(count)
    return count(0, ())
