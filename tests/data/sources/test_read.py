"""One reader for each source of the config."""

from clan_tf.config import SOURCES
from clan_tf.data.sources import SOURCE_READERS


def test_every_source_of_the_config_has_a_reader() -> None:
    assert set(SOURCE_READERS) == {name.partition(":")[0] for name in SOURCES}
