"""What the sections of an experiment share."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WrapValidator

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
