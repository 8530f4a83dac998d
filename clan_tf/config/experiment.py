"""The whole experiment, as pydantic checks it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from clan_tf.config.data import DataConfig, Sampling
from clan_tf.config.model import ModelConfig
from clan_tf.config.section import AUTO, Section
from clan_tf.config.training import TrainingConfig
from clan_tf.config.yaml_text import yaml_text

UNDECIDED = {
    "data.cache": AUTO,
    "data.sampling": AUTO,
    "training.precision": AUTO,
    "training.learning_rate": AUTO,
    "training.batch_size": AUTO,
    "training.accumulation": None,
}
"""Keys that may be left for training to decide, with the value that means so."""
NAME_PATTERN = r"^[A-Za-z0-9._-]+$"
"""Of names of folders that every file system takes."""


class Experiment(Section):
    """A whole experiment: what a YAML file holds."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)] = "experiment"
    """Names the run directories and exported files."""
    data: DataConfig = DataConfig()
    """Where the photos come from."""
    model: ModelConfig = ModelConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig()
    """The recipe."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        mixed = [name for name in ("mixup", "cutmix") if getattr(self.data.augmentation, name)]
        if mixed and self.model.compares_pairs:
            raise ValueError(
                f"data.augmentation.{mixed[0]} mixes photos of several classes, and the loss over pairs of mamc takes "
                f"photos of one class each. Set data.augmentation.{mixed[0]}=0, or model.mamc.pair_loss_weight=0"
            )
        self._require_one_balance()
        return self

    def _require_one_balance(self) -> None:
        """Refuses to correct in the loss for numbers of photos that the order of the photos has already evened out."""
        training = self.training
        corrections = {
            "class_weights": training.class_weights == "balanced",
            "logit_adjustment": training.logit_adjustment,
        }
        for key, is_on in corrections.items():
            if is_on and self.sampling != "shuffle":
                raise ValueError(
                    f"training.{key}={getattr(training, key)} corrects for classes of unequal numbers of photos, and "
                    f"data.sampling={self.sampling} already shows all classes equally often. Set "
                    f"training.{key}={TrainingConfig.model_fields[key].default}, or data.sampling=shuffle"
                )

    @property
    def sampling(self) -> Sampling:
        """The order of the train photos: `data.sampling` with `auto` resolved."""
        if self.data.sampling != AUTO:
            return self.data.sampling
        return "pairs" if self.model.compares_pairs else "shuffle"

    @property
    def batch_unit(self) -> int:
        """What a batch on one device must be a multiple of, so that no part of it divides a pair of photos."""
        return self.training.parts * (2 if self.sampling == "pairs" else 1)

    def flat(self) -> dict[str, Any]:
        """Returns every value by its whole key, such as `training.epochs`."""
        return dict(flatten(self.model_dump(mode="json")))

    def undecided(self) -> set[str]:
        """Returns the keys whose values `train` decides, and then writes into the run's config."""
        flat = self.flat()
        return {key for key, value in UNDECIDED.items() if flat[key] == value}

    def to_yaml(self) -> str:
        """Writes the complete experiment, every default included."""
        return yaml_text(self.model_dump(mode="json"))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value that isn't a section, with its whole key."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
