"""What tests of sources share: how a source is read, and what is said where that fails."""

from pathlib import Path
from typing import Any

import pytest

from clan_tf.config import DataConfig
from clan_tf.data import Photo, Source, read_source
from clan_tf.errors import UserError

GREY = (100, 100, 100)


def by_file(source: Source, *splits: str) -> dict[str, Photo]:
    """The photos of some splits, or of all, by the name of their file."""
    return {Path(photo.name).name: photo for split in splits or source.splits for photo in source.splits[split]}


def mistake(**data: Any) -> str:
    """The text of the error that reading ends with."""
    with pytest.raises(UserError) as caught:
        read_source(DataConfig(**data))
    return str(caught.value)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
