"""Sources of photos, and the `tf.data` pipeline."""

from collections.abc import Callable

from clan_tf.config import DataConfig
from clan_tf.data.cub import read_cub
from clan_tf.data.folders import read_folders
from clan_tf.data.generated import read_generated
from clan_tf.data.source import SPLITS, Photo, Source

READERS: dict[str, Callable[[DataConfig], Source]] = {
    "folders": read_folders,
    "cub": read_cub,
    "generated": read_generated,
}


def read_source(config: DataConfig) -> Source:
    """The photos that an experiment's `data` section names; a `UserError` says what is wrong with them."""
    return READERS[config.source](config)


__all__ = ["READERS", "SPLITS", "Photo", "Source", "read_source"]
