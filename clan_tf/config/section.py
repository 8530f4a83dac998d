"""What the sections of an experiment share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WrapValidator, model_validator

from clan_tf import limits
from clan_tf.text import is_utf8, printable

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveNumber = Annotated[float, Field(gt=0, le=1e32)]
NotNegative = Annotated[float, Field(ge=0, le=1e32)]
Name = Annotated[str, Field(max_length=limits.NAME_LENGTH)]
Text = Annotated[str, Field(max_length=limits.PATH_LENGTH)]


def up_to(most: int) -> Any:
    """Limits a whole number to 1 … `most`: `Annotated[int, up_to(8)]`."""
    return Field(ge=1, le=most)


AUTO = "auto"
"""A value that training chooses itself."""


def or_auto(kind: Any) -> Any:
    """Returns a type of the values of `kind` and `auto`, whose mistakes are those of `kind`."""
    numbers = TypeAdapter(kind)

    def validated(value: Any, handler: Any) -> Any:
        return value if isinstance(value, str) and value == AUTO else numbers.validate_python(value)

    return Annotated[Union[kind, Literal["auto"]], WrapValidator(validated)]  # noqa: UP007 (it is made at run time)


if TYPE_CHECKING:
    # Whatever computes with these keys gets an experiment in which `train` has replaced `auto` by a number.
    RateOrAuto = float
    BatchOrAuto = int
else:
    BatchOrAuto = or_auto(Annotated[int, up_to(limits.BATCH_SIZE)])
    RateOrAuto = or_auto(PositiveNumber)


def require_utf8(path: str) -> str:
    """Returns a path that a config file can hold; photos in `data.root` may have any names."""
    if not is_utf8(path):
        raise ValueError(f"must be a path in UTF-8; received {printable(path)}. Rename the folder or file")
    return path


class Section(BaseModel):
    """A part of the experiment: unknown keys are mistakes, and values don't change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _take_no_truth_for_a_number(cls, values: Any) -> Any:
        """Makes words of `true` and `false` where numbers are meant; pydantic would take them for 1 and 0."""
        if not isinstance(values, dict):
            return values
        numbers = {name for name, field in cls.model_fields.items() if _is_of_numbers(field.annotation)}
        return {key: _without_truth(value) if key in numbers else value for key, value in values.items()}


def is_section(annotation: Any) -> bool:
    """Checks whether a type is that of a section."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _is_of_numbers(annotation: Any) -> bool:
    """Checks whether the values of a type, or those in its lists and mappings, are numbers and no truth values."""
    kinds = set(_kinds(annotation))
    return not kinds.isdisjoint((int, float)) and bool not in kinds


def _kinds(annotation: Any) -> Iterator[Any]:
    parts = get_args(annotation)
    if get_origin(annotation) is dict:
        parts = parts[1:]
    if not parts:
        yield annotation
    for part in parts:
        yield from _kinds(part)


def _without_truth(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_truth(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_truth(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value
