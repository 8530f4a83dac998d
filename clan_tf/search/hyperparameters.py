"""Conversion between a search space and KerasTuner's `HyperParameters`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import keras_tuner

from clan_tf.search.space import Boolean, Choice, Integer, Parameter, Range, SearchConfig


def make_hyperparameters(search: SearchConfig) -> keras_tuner.HyperParameters:
    """Converts the space, with its conditions, to KerasTuner's representation."""
    space = keras_tuner.HyperParameters()
    for key, parameter in search.ordered().items():
        with ExitStack() as conditions:
            for parent, allowed in _conditions(search, key):
                encoded = [_encode(search.parameters[parent], value) for value in allowed]
                conditions.enter_context(space.conditional_scope(parent, encoded))
            _declare(space, key, parameter)
    return space


def decode(search: SearchConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the experiment's values for a trial's hyperparameters, without those whose conditions aren't met."""
    decoded = {key: _decode(search.parameters[key], values[key]) for key in search.parameters if key in values}
    return search.active(decoded)


def _conditions(search: SearchConfig, key: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yields the conditions of a key, each after those of the key it is about, which must exist for KerasTuner."""
    for parent, allowed in search.parameters[key].when.items():
        yield from _conditions(search, parent)
        yield parent, allowed


def _declare(space: keras_tuner.HyperParameters, key: str, parameter: Parameter) -> None:
    if isinstance(parameter, Choice):
        space.Choice(key, [_encode(parameter, value) for value in parameter.values])
    elif isinstance(parameter, Boolean):
        space.Boolean(key)
    elif isinstance(parameter, Range):
        declare = space.Int if isinstance(parameter, Integer) else space.Float
        declare(key, parameter.min, parameter.max, step=parameter.step, sampling=parameter.sampling)


def _encode(parameter: Parameter, value: Any) -> Any:
    """Encodes a value for KerasTuner, which accepts numbers and strings: any other choice becomes its JSON text."""
    return value if isinstance(parameter, Boolean) or _is_numeric(parameter) else json.dumps(value)


def _decode(parameter: Parameter, value: Any) -> Any:
    return json.loads(value) if isinstance(parameter, Choice) and not _is_numeric(parameter) else value


def _is_numeric(parameter: Parameter) -> bool:
    """Returns whether a choice has numbers of one type only, which KerasTuner keeps in order."""
    types = {type(value) for value in parameter.values} if isinstance(parameter, Choice) else set()
    return types in ({int}, {float})
