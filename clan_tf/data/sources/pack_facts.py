"""What a pack states about itself, in TFDS' metadata."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clan_tf.config import DataConfig
from clan_tf.errors import UserError

KEY = "clan_tf"


@dataclass(frozen=True)
class PackFacts:
    """How the photos of a pack were prepared.

    Attributes:
        class_names: the exact names; TFDS' own list can't hold line breaks or surrounding spaces.
        full_size: the size to which the photos were resized.
        resize_mode: how they were resized.
        crop_to_box: whether they were cut to their boxes.
        val_is_cut: whether the validation photos were cut at random from the data's train photos.
    """

    class_names: list[str]
    full_size: int
    resize_mode: str
    crop_to_box: bool
    val_is_cut: bool = False

    def metadata(self) -> dict[str, Any]:
        """Returns plain values for TFDS' metadata."""
        return {KEY: asdict(self)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], place: str) -> "PackFacts | None":
        """Returns the facts, or `None` for a data set that isn't a pack; a `UserError` for facts of another version."""
        if KEY not in metadata:
            return None
        try:
            return cls(**metadata[KEY])
        except TypeError as error:
            raise UserError(f"{place}: was packed by another version of clan-tf; pack it again ({error}).") from None

    def notes(self, config: DataConfig) -> tuple[str, ...]:
        """Returns how the pack differs from what the config asks for.

        Raises:
            UserError: if photos that weren't cut to their boxes should be.
        """
        if config.crop_to_box and not self.crop_to_box:
            raise UserError(
                "data.crop_to_box: the photos were packed whole. Pack them again with it, or set it to false."
            )
        notes = []
        if config.full_size > self.full_size:
            notes.append(
                f"The photos were packed at {self.full_size} pixels and are enlarged to {config.full_size}. Pack them "
                f"again with data.resize_size={config.full_size}, or set data.resize_size={self.full_size}."
            )
        if config.resize_mode != self.resize_mode:
            notes.append(f"The photos were packed with data.resize_mode={self.resize_mode}, not {config.resize_mode}.")
        if self.crop_to_box and not config.crop_to_box:
            notes.append("The photos were packed with data.crop_to_box=true.")
        return tuple(notes)
