"""The table of photo files, and what is to be seen of each."""

import numpy as np
import pytest

from clan_tf.data.checked_photos import CheckedPhotos, check_photos
from clan_tf.photos import PhotoError, decode
from helpers.photo_table import photo_files
from helpers.reading import VIEWS, Table, view_of


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder, rows = tmp_path_factory.mktemp("table"), photo_files()
    pixels, sentences = {}, {}
    for row in rows:
        (folder / row.name).write_bytes(row.content)
        try:
            pixels[row.name] = decode(row.content).upright
        except PhotoError as error:
            sentences[row.name] = str(error)
    return Table(folder, rows, pixels, sentences)


@pytest.fixture(scope="session")
def checked(table: Table) -> CheckedPhotos:
    return check_photos(table.photos)


@pytest.fixture(scope="session")
def views(table: Table) -> dict[str, np.ndarray]:
    """What a model sees of every good photo, `(photos, 16, 16, 3)`, by how it is resized."""
    return {mode: np.stack([view_of(mode)(table.pixels[row.name]) for row in table.good]) for mode in VIEWS}
