"""The whole experiment, as pydantic checks it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field

from clan_tf.config.data import DataConfig
from clan_tf.config.model import ModelConfig
from clan_tf.config.section import Section
from clan_tf.config.training import TrainingConfig


class Experiment(Section):
    """A whole experiment: what a YAML file holds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=100)] = "experiment"
    """Names the run directories and exported files."""
    data: DataConfig = DataConfig()
    """Where the photos come from."""
    model: ModelConfig = ModelConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig()
    """The recipe."""

    def flat(self) -> dict[str, Any]:
        """Returns every value by its whole key, such as `training.epochs`."""
        return dict(flatten(self.model_dump(mode="json")))

    def to_yaml(self) -> str:
        """Writes the complete experiment, every default included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value that isn't a section, with its whole key."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
