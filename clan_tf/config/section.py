"""What the sections of an experiment share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from clan_tf import limits

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveNumber = Annotated[float, Field(gt=0, le=1e32)]
NotNegative = Annotated[float, Field(ge=0, le=1e32)]
Name = Annotated[str, Field(max_length=limits.NAME_LENGTH)]
Text = Annotated[str, Field(max_length=limits.PATH_LENGTH)]


def positive(most: int) -> Any:
    """A whole number from 1 to `most`."""
    return Annotated[int, Field(ge=1, le=most)]


def up_to(most: int) -> Any:
    """Limits a whole number to 1 … `most`: `Annotated[int, up_to(8)]`."""
    return Field(ge=1, le=most)


class Section(BaseModel):
    """A part of the experiment: unknown keys are mistakes, and values don't change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
