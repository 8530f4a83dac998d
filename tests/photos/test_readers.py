"""Every reader over the table of photo files: the same upright pixels, or the same sentence."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.check.duplicates import THUMBNAIL_SIZE
from clan_tf.data.check.inspection import inspect_photo
from clan_tf.data.checked_photos import CheckedPhotos, check_photos, used_part
from clan_tf.data.pack import PackFormat, pack
from clan_tf.data.pipeline import PhotoReader, open_reader
from clan_tf.explain.explain import _Job
from clan_tf.inference import ExportedPredictor, KerasPredictor
from clan_tf.inference.views import seen_by_model
from clan_tf.photos import PhotoError, examine
from clan_tf.progress import Progress
from clan_tf.runtime import Contract, ExportedModel
from helpers.reading import VIEWS, Table, differing, distance, seen


def test_the_decoder_gives_the_expected_pixels_or_the_expected_sentence(table: Table) -> None:
    wrong = {}
    for row in table.rows:
        if row.expected is None:
            sentence = table.sentences.get(row.name, "it isn't refused")
            if row.refusal not in sentence or "\n" in sentence:
                wrong[row.name] = sentence
        elif row.name in table.sentences:
            wrong[row.name] = table.sentences[row.name]
        elif distance(table.pixels[row.name], row.expected) > row.tolerance:
            wrong[row.name] = f"{distance(table.pixels[row.name], row.expected)} levels"
    assert wrong == {}


def test_looking_at_facts_alone_gives_the_same_verdicts(table: Table) -> None:
    for row in table.rows:
        try:
            facts, sentence = examine(row.content), None
        except PhotoError as error:
            facts, sentence = None, str(error)
        assert sentence == table.sentences.get(row.name), row.name
        if facts:
            size = (facts.width, facts.height) if facts.orientation > 4 else (facts.height, facts.width)
            assert size == table.pixels[row.name].shape[:2], row.name


def test_the_check_before_training_keeps_and_names_the_same_photos(table: Table, checked: CheckedPhotos) -> None:
    assert [Path(photo.name).name for photo in checked.photos] == [row.name for row in table.good]
    assert list(checked.broken) == [f"{table.folder / name}: {text}" for name, text in table.sentences.items()]


@pytest.mark.parametrize("mode", VIEWS)
@pytest.mark.parametrize("cache", ["none", "memory"])
def test_evaluation_sees_the_same_pixels(
    mode: str, cache: str, table: Table, checked: CheckedPhotos, views: dict[str, np.ndarray]
) -> None:
    reader = open_reader(checked, VIEWS[mode], cache, Progress().track)
    # A window cut from the whole resized photo and one resized alone are summed in another order.
    allowed = 1 if (mode, cache) == ("keep_aspect", "memory") else 0
    names = [row.name for row in table.good]
    assert differing(seen(reader, len(names)), views[mode], names, allowed) == {}


def test_whole_photos_for_the_gate_are_the_same(table: Table, checked: CheckedPhotos) -> None:
    for index, row in enumerate(table.good):
        np.testing.assert_array_equal(used_part(checked, index), table.pixels[row.name], row.name)


def test_a_pack_of_all_photos_holds_the_same_pixels(table: Table, tmp_path: Path, views: dict[str, np.ndarray]) -> None:
    for split, rows in (("train", table.good), ("val", table.good[:1]), ("test", table.good[:1])):
        (tmp_path / "photos" / split / "any").mkdir(parents=True)
        for number, row in enumerate(rows):
            # Whatever they hold, they are called alike.
            os.link(table.folder / row.name, tmp_path / "photos" / split / "any" / f"{number:04}.jpg")
        (tmp_path / "photos" / split / "other").mkdir()
        os.link(table.folder / table.good[0].name, tmp_path / "photos" / split / "other" / "0.png")
    sizes = {"image_size": 16, "resize_size": 20}
    config = DataConfig(source="folders", root=tmp_path / "photos", **sizes)
    packed = pack(config, tmp_path / "pack", PackFormat(quality=None)).folder
    photos = read_source(DataConfig(source="records", root=packed, **sizes)).splits["train"]
    reader = PhotoReader(check_photos(photos), VIEWS["stretch"])
    names = [row.name for row in table.good]
    assert differing(seen(reader, len(photos))[: len(names)], views["stretch"], names) == {}


def test_data_check_sees_the_same_photos(table: Table) -> None:
    for row, photo in zip(table.rows, table.photos, strict=True):
        try:
            found = inspect_photo(photo)
        except PhotoError as error:
            assert str(error) == table.sentences.get(row.name), row.name
            continue
        pixels = table.pixels[row.name]
        assert found.size == pixels.shape[1::-1], row.name
        size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
        np.testing.assert_array_equal(found.thumbnail, small, row.name)


def keras_reader(mode: str) -> Callable[[Path], np.ndarray | str]:
    """How `predict` reads photos for a Keras model."""
    predictor = object.__new__(KerasPredictor)
    predictor.model = _model(mode)
    return _or_reason(predictor.read)


def exported_reader(mode: str) -> Callable[[Path], np.ndarray | str]:
    """How `predict` reads photos for an exported file."""
    predictor, model, view = object.__new__(ExportedPredictor), object.__new__(ExportedModel), VIEWS[mode]
    model.contract = Contract(("a",), view.image_size, view.full_size, view.mode, view.image_size, ("top",))
    predictor._model = model
    return _or_reason(predictor.read)


def explaining_reader(mode: str) -> Callable[[Path], np.ndarray | str]:
    """How `explain` reads photos."""
    model = _model(mode)
    job = _Job(SimpleNamespace(model=model), None, None, Path(), Path())
    return _or_reason(lambda path: seen_by_model(model, job._read(path)))


def _model(mode: str) -> SimpleNamespace:
    view = VIEWS[mode]
    return SimpleNamespace(image_size=view.image_size, resize_size=view.full_size, resize_mode=view.mode)


def _or_reason(read: Callable[[Path], np.ndarray]) -> Callable[[Path], np.ndarray | str]:
    """A reader that gives the reason where a photo can't be read."""

    def wrapped(path: Path) -> np.ndarray | str:
        try:
            return read(path)
        except PhotoError as error:
            return str(error)

    return wrapped


@pytest.mark.parametrize(
    ("reader", "mode", "step"),
    # Not all by all, where the same function resizes them slowly, outside a graph.
    [
        (keras_reader, "stretch", 3),
        (keras_reader, "keep_aspect", 5),
        (explaining_reader, "stretch", 5),
        (explaining_reader, "keep_aspect", 5),
        (exported_reader, "stretch", 1),
        (exported_reader, "keep_aspect", 1),
    ],
)
def test_prediction_and_explanation_see_the_same_pixels_or_give_the_same_sentence(
    reader: Callable[[str], Callable[[Path], np.ndarray | str]],
    mode: str,
    step: int,
    table: Table,
    views: dict[str, np.ndarray],
) -> None:
    read = reader(mode)
    for name, sentence in table.sentences.items():
        assert read(table.folder / name) == sentence
    names = [row.name for row in table.good][::step]
    given = [read(table.folder / name) for name in names]
    # NumPy resizes the whole photo, the graph the window alone.
    allowed = 1 if (reader, mode) == (exported_reader, "keep_aspect") else 0
    assert differing(given, views[mode][::step], names, allowed) == {}


READ_ALL = """
import sys
from pathlib import Path
from contextlib import suppress
import tensorflow as tf
from clan_tf.photos.decoding import PhotoError
from clan_tf.data.check.inspection import inspect_photo
from clan_tf.data import Photo
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches

photos = [Photo(str(path), 0) for path in sorted(Path(sys.argv[1]).iterdir())]
# What TensorFlow says when it starts has nothing to do with photos.
tf.constant(0)
print("BEGIN", file=sys.stderr, flush=True)
for photo in photos:
    with suppress(PhotoError):
        inspect_photo(photo)
checked = check_photos(photos)
for _ in evaluation_batches(PhotoReader(checked, View(16, 20)), checked.labels, 64):
    pass
print(len(checked.photos))
"""


def test_no_decoder_writes_to_standard_error(table: Table) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", READ_ALL, table.folder], capture_output=True, text=True, env=environment
    )
    assert done.stdout == f"{len(table.good)}\n", done.stderr
    assert done.stderr.split("BEGIN\n")[1] == ""
