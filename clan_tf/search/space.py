"""The search space and how it is searched: the YAML file beside the experiment."""

import math
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from clan_tf import limits
from clan_tf.config.mistakes import MISTAKES, mistakes_in
from clan_tf.config.section import Name, PositiveNumber, Section, up_to
from clan_tf.config.shipped import read_yaml, shipped_files
from clan_tf.errors import UserError, nearest, shortened, shown

LARGEST = 10**15
"""Bounds of searched whole numbers."""

Algorithm = Literal["grid", "random", "bayesian", "hyperband"]
Spacing = Literal["linear", "log"]
When = Annotated[
    dict[str, Annotated[list[Any], BeforeValidator(lambda value: value if isinstance(value, list) else [value])]],
    Field(description="Other searched keys, with the value or list of values for which this key is searched."),
]


class Choice(Section):
    """One of `values`."""

    kind: Literal["choice"]
    """Tries the given values."""
    values: Annotated[list[Any], Field(min_length=1, max_length=limits.CHOICES)]
    """Values of the key: anything that it accepts, such as numbers, strings, lists and `null`."""
    when: When = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        texts = {_text_of(value) for value in self.values}
        if len(texts) < len(self.values) or _equal_numbers(self.values):
            raise ValueError(f"values must differ from each other; received {shown(self.values)}")
        return self


class Taps(Section):
    """`count` of the backbone's usual mid-level layers, for `model.mid`."""

    kind: Literal["taps"]
    """Tries the backbone's usual mid-level layers."""
    count: Annotated[int, up_to(limits.TAPS)]
    """How many layers are used together."""
    when: When = {}


class Boolean(Section):
    """True or false."""

    kind: Literal["boolean"]
    """Tries `true` and `false`."""
    when: When = {}


class _Range(Section):
    min: Any
    max: Any
    step: Any = None
    sampling: Spacing = "linear"
    """Whether values are drawn uniformly from the range, or uniformly from its logarithm (`log`)."""
    when: When = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.min < self.max:
            raise ValueError(f"max must be greater than min ({self.min}); received {self.max}")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError(f"min must be greater than 0 with sampling: log; received {self.min}")
        if self.sampling == "log" and self.step is not None and self.step <= 1:
            raise ValueError(f"step must be a factor greater than 1 with sampling: log; received {self.step}")
        if self.step is not None and (number := self._steps()) > limits.VALUES:
            raise ValueError(
                f"step makes {number:.3g} values; at most {limits.VALUES:,} are searched. Received: {self.step}"
            )
        return self

    def _steps(self) -> float:
        """Returns how many values there are at distances of `step`."""
        if self.sampling == "log":
            return (math.log(self.max) - math.log(self.min)) / math.log(self.step)
        return (self.max - self.min) / self.step


class Integer(_Range):
    """A whole number from `min` to `max`, both included; `step` apart, or a factor of `step` if sampled by `log`."""

    kind: Literal["int"]
    """Tries whole numbers."""
    min: Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
    """Smallest value."""
    max: Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
    """Largest value."""
    step: Annotated[int, up_to(LARGEST)] | None = None
    """Distance between two values; with `sampling: log` the factor between them."""


class Number(_Range):
    """A number from `min` to `max`; a grid uses ten of them, or those that are `step` apart."""

    kind: Literal["float"]
    """Tries numbers."""
    min: Annotated[float, Field(allow_inf_nan=False)]
    """Smallest value."""
    max: Annotated[float, Field(allow_inf_nan=False)]
    """Largest value."""
    step: PositiveNumber | None = None
    """Distance between two values; with `sampling: log` the factor between them."""


Range = Integer | Number
Parameter = Annotated[Choice | Taps | Boolean | Integer | Number, Field(discriminator="kind")]


class SearchConfig(Section):
    """A search: its space, algorithm and budget."""

    parameters: Annotated[dict[Name, Parameter], Field(min_length=1, max_length=limits.PARAMETERS)]
    """The values to try for each key of the experiment."""
    algorithm: Algorithm = "random"
    """KerasTuner's algorithm."""
    trials: Annotated[int, up_to(limits.TRIALS)] | None = None
    """Maximum number of trials; by default all of a grid, or what Hyperband plans."""
    hours: Annotated[float, Field(gt=0, le=limits.HOURS)] | None = None
    """No new trial starts once the trials of all workers together have taken this many hours."""
    repeats: Annotated[int, up_to(limits.REPEATS)] = 1
    """How often each trial is trained, with the seeds `training.seed`, `training.seed + 1` and so on."""
    objective: Annotated[str, Field(pattern=r"^\w*(loss|accuracy)$", max_length=limits.NAME_LENGTH)] = (
        "val_combined_accuracy"
    )
    """Column of `metrics.csv`; its value at the run's best epoch counts."""
    max_failures: Annotated[int, up_to(limits.TRIALS)] = 3
    """The search stops once this many trials fail in a row."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the algorithm."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        mistakes = [text for key in self.parameters for text in self._wrong_conditions(key)]
        mistakes += self._too_many()
        if not mistakes:
            order = self.ordered()
            mistakes = [f"{key}: its conditions depend on itself" for key in self.parameters if key not in order]
            mistakes += [f"{key}: is impossible, because no trial meets its conditions" for key in self._never(order)]
        if self.algorithm in ("random", "bayesian") and self.trials is None and self.hours is None:
            mistakes.append(f"algorithm: {self.algorithm} needs a budget; set trials or hours")
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return self

    @property
    def direction(self) -> Literal["min", "max"]:
        """Whether the objective is minimised or maximised."""
        return "min" if self.objective.endswith("loss") else "max"

    def ordered(self) -> dict[str, Parameter]:
        """Returns the parameters, each after those in its conditions, without those that depend on themselves."""
        order: dict[str, Parameter] = {}
        while True:
            ready = [key for key in self.parameters if key not in order and set(self.parameters[key].when) <= {*order}]
            if not ready:
                return order
            order[ready[0]] = self.parameters[ready[0]]

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values whose conditions are met."""
        chosen: dict[str, Any] = {}
        for key, parameter in self.ordered().items():
            met = all(parent in chosen and chosen[parent] in allowed for parent, allowed in parameter.when.items())
            if met and key in values:
                chosen[key] = values[key]
        return chosen

    def _wrong_conditions(self, key: str) -> Iterator[str]:
        for parent, allowed in self.parameters[key].when.items():
            if parent not in self.parameters:
                hint = nearest(parent, list(self.parameters))
                yield f"{key}: when names {parent}, which isn't searched.{hint}"
            elif (values := values_of(self.parameters[parent])) is None:
                yield f"{key}: when names {parent}, which is neither a choice nor boolean"
            else:
                for value in allowed:
                    if value not in values:
                        yield f"{key}: is impossible when {parent} is {shown(value)}; it is one of {shown(values)}"

    def _too_many(self) -> Iterator[str]:
        """Yields mistakes for parts of the space that are enumerated and too large."""
        parents = {parent for parameter in self.parameters.values() for parent in parameter.when} & set(self.parameters)
        combinations = math.prod(len(values_of(self.parameters[name]) or [0]) for name in parents)
        if combinations > limits.CONDITIONS:
            yield (
                f"parameters: the keys that conditions name have {combinations:,} combinations of values; at most "
                f"{limits.CONDITIONS:,} are supported"
            )
        for key, parameter in self.parameters.items():
            if self.algorithm == "grid" and isinstance(parameter, Integer) and not parameter.step:
                if parameter.max - parameter.min >= limits.VALUES:
                    yield (
                        f"{key}: a grid of all numbers from {parameter.min} to {parameter.max} is too fine; at most "
                        f"{limits.VALUES:,} values are searched. Set step"
                    )

    def _never(self, order: Mapping[str, Parameter]) -> list[str]:
        """Returns the parameters whose conditions contradict each other."""
        parents = {parent for parameter in order.values() for parent in parameter.when}
        names = [key for key in order if key in parents]
        reached: set[str] = set()
        for values in product(*(values_of(order[name]) or [] for name in names)):
            chosen = dict(zip(names, values, strict=True))
            reached |= set(self.active({**dict.fromkeys(order), **chosen}))
        return [key for key in order if key not in reached]


def values_of(parameter: Parameter) -> list[Any] | None:
    """Returns all values of a choice or boolean; `None` for other parameters."""
    if isinstance(parameter, Choice):
        return parameter.values
    return [False, True] if isinstance(parameter, Boolean) else None


def _text_of(value: Any) -> str:
    """Returns a text that is the same for equal values: keys of mappings are sorted, and may be of several types."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{key!r}: {_text_of(each)}' for key, each in value.items()))}}}"
    return f"[{', '.join(map(_text_of, value))}]" if isinstance(value, list) else repr(value)


def _equal_numbers(values: list[Any]) -> bool:
    """Returns whether two numbers are equal but written differently, such as 1 and 1.0; `true` isn't a number."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(set(numbers)) < len(numbers)


def load_search(space: str | Path, overrides: Mapping[str, Any] | None = None) -> SearchConfig:
    """Reads a search space.

    Args:
        space: path of a YAML file, or the name of a shipped space.
        overrides: values that override the file's, such as `{"trials": 20}`.

    Raises:
        UserError: naming every mistake.
    """
    values = read_yaml(space, shipped_spaces(), "search space")
    if not isinstance(values, dict):
        raise UserError(f"{space}: must hold `parameters:`; received {shown(values)}.")
    try:
        return SearchConfig.model_validate({**values, **(overrides or {})})
    except ValidationError as error:
        lines = [line for mistake in error.errors()[:MISTAKES] for line in _explain(mistake)]
        raise mistakes_in(space, lines) from error


def shipped_spaces() -> dict[str, Traversable]:
    """Finds the search spaces that are installed with the package, by name."""
    return shipped_files("clan_tf.configs.spaces")


def _explain(mistake: Any) -> Iterator[str]:
    """Yields readable lines for one of pydantic's errors."""
    location = [str(part) for part in mistake["loc"]]
    if location[:1] == ["parameters"] and len(location) > 1:
        location = [*location[1:2], *location[3:]]  # the kind is between them
    name = shortened(".".join(location))
    value = mistake["input"]
    if mistake["type"] == "value_error":
        for line in str(mistake["ctx"]["error"]).splitlines():
            yield f"{name}: {line}." if name else f"{line}."
    elif mistake["type"] == "extra_forbidden":
        yield f"{name}: no such key."
    elif mistake["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kind = value.get("kind") if isinstance(value, dict) else value
        yield f"{name}: kind must be choice, taps, boolean, int or float; received {shown(kind)}."
    elif mistake["type"] == "missing":
        yield f"{name}: is missing."
    elif name == "objective":
        yield f"{name}: must be a column of metrics.csv, such as val_combined_accuracy; received {shown(value)}."
    else:
        yield f"{name}: {mistake['msg'][0].lower()}{mistake['msg'][1:]}; received {shown(value)}."
