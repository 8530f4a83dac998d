"""What the sections of an experiment share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

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


def require_utf8(path: str) -> str:
    """Returns a path that a config file can hold; photos in `data.root` may have any names."""
    if not is_utf8(path):
        raise ValueError(f"must be a path in UTF-8; received {printable(path)}. Rename the folder or file")
    return path


class Section(BaseModel):
    """A part of the experiment: unknown keys are mistakes, and values don't change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)
