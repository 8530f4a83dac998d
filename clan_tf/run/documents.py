"""The contents of the JSON files of a run directory."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt


class Ended(BaseModel):
    """`status.json` of a run that is finished."""

    status: Literal["finished"]
    epochs: int = Field(ge=1)
    best_epoch: int = Field(ge=1)
    best_accuracy: float
    seconds: float


class Unfinished(BaseModel):
    """`status.json` of a run that isn't finished."""

    model_config = ConfigDict(extra="allow")
    status: Literal["running", "stopped", "failed"]


class Data(BaseModel):
    """`data.json`."""

    model_config = ConfigDict(extra="allow")
    source: str
    root: str | None
    photos: dict[str, NonNegativeInt]
    skipped: dict[str, list[str]] = {}
    classes: int
    class_names: list[str]
    file_list_sha256: str


class Environment(BaseModel):
    """`environment.json`."""

    model_config = ConfigDict(extra="allow")
    started: str
    command: list[str]
    git_commit: str | None
    python: str
    platform: str
    packages: dict[str, str | None]
    devices: list[str]
    computing: dict[str, str] = {}
    resumed: list[dict[str, str]] = []
