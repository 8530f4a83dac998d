"""Every reader over the table of photo files: the same upright pixels, or the same sentence."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from clan_tf.config import DataConfig
from clan_tf.data import Photo, read_source
from clan_tf.data.check.duplicates import THUMBNAIL_SIZE
from clan_tf.data.check.inspection import inspect_photo
from clan_tf.data.checked_photos import CheckedPhotos, check_photos, probe, used_part
from clan_tf.data.pack import PackFormat, pack
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches, evaluation_view, open_reader
from clan_tf.data.pipeline.reading import Reader
from clan_tf.explain.explain import _Job
from clan_tf.export.encoded_photos import decode_upright, why_not_served
from clan_tf.export.exif import exif_orientation
from clan_tf.inference import ExportedPredictor, KerasPredictor
from clan_tf.inference.views import seen_by_model
from clan_tf.photos.decoding import PhotoError, decode, examine
from clan_tf.photos.orientation import orientation_of
from clan_tf.progress import Progress
from clan_tf.runtime.contract import Contract
from clan_tf.runtime.exported import ExportedModel
from helpers.fuzzing import mutations
from helpers.photo_table import photo_files
from helpers.photo_table.parts import PhotoFile

VIEWS = {"stretch": View(16, 20), "keep_aspect": View(16, 20, "keep_aspect")}


@dataclass(frozen=True)
class Table:
    """The rows as files.

    Attributes:
        folder: where they lie.
        rows: all of them.
        pixels: what `decode` gives of each that can be decoded, upright, by name.
        sentences: why each other one is refused, by name.
    """

    folder: Path
    rows: Sequence[PhotoFile]
    pixels: dict[str, np.ndarray]
    sentences: dict[str, str]

    @property
    def photos(self) -> list[Photo]:
        """The files as a source gives them."""
        return [Photo(str(self.folder / row.name), 0) for row in self.rows]

    @property
    def good(self) -> list[PhotoFile]:
        """The rows that can be decoded."""
        return [row for row in self.rows if row.name in self.pixels]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def checked(table: Table) -> CheckedPhotos:
    return check_photos(table.photos)


@pytest.fixture(scope="module")
def views(table: Table) -> dict[str, np.ndarray]:
    """What a model sees of every good photo, `(photos, 16, 16, 3)`, by how it is resized."""
    return {mode: np.stack([view_of(mode)(table.pixels[row.name]) for row in table.good]) for mode in VIEWS}


def view_of(mode: str) -> Callable[[np.ndarray], np.ndarray]:
    """From upright pixels."""
    photo = tf.TensorSpec((None, None, 3), tf.uint8)
    if mode not in _VIEW_FUNCTIONS:
        traced = tf.function(lambda image: evaluation_view(image, VIEWS[mode]), [photo], autograph=False)
        _VIEW_FUNCTIONS[mode] = traced.get_concrete_function()
    return lambda pixels: _VIEW_FUNCTIONS[mode](tf.constant(pixels)).numpy()


_VIEW_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {}


@pytest.fixture(scope="module")
def serve() -> Callable[[bytes], np.ndarray | None]:
    """The upright pixels that the graph behind `serve_bytes` makes; `None` where it refuses."""
    string = tf.TensorSpec((), tf.string)
    graph = tf.function(decode_upright, [string], autograph=False).get_concrete_function()

    def run(content: bytes) -> np.ndarray | None:
        try:
            return graph(tf.constant(content)).numpy()
        except tf.errors.OpError:
            return None

    return run


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The most levels between two pictures; infinite if their sizes differ."""
    return np.abs(one.astype(int) - other).max() if one.shape == other.shape else float("inf")


def seen(reader: Reader, photos: int) -> np.ndarray:
    """What evaluation makes of all photos, in order."""
    batches = evaluation_batches(reader, np.zeros(photos, "int32"), 64)
    return np.concatenate([images.numpy() for images, _, _ in batches])[:photos]


def differing(given: np.ndarray, expected: np.ndarray, names: Sequence[str], allowed: int = 0) -> dict[str, float]:
    """The photos whose views aren't as expected, with the levels between them."""
    pairs = zip(names, given, expected, strict=True)
    return {name: far for name, one, other in pairs if (far := distance(one, other)) > allowed}


# The decoder


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


# Training and evaluation


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


# Checks


def test_data_check_sees_the_same_photos(table: Table) -> None:
    for row, photo in zip(table.rows, table.photos, strict=True):
        found = inspect_photo(photo)
        if isinstance(found, str):
            assert found == table.sentences.get(row.name), row.name
            continue
        pixels = table.pixels[row.name]
        assert found.size == pixels.shape[1::-1], row.name
        size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
        np.testing.assert_array_equal(found.thumbnail, small, row.name)


# Prediction and explanation


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


# serve_bytes


def test_serve_bytes_gives_the_same_pixels_or_refuses(
    table: Table, serve: Callable[[bytes], np.ndarray | None]
) -> None:
    wrong = {}
    for row in table.rows:
        served = serve(row.content)
        if (served is None) != (row.served == "refused"):
            wrong[row.name] = "refused" if served is None else "answered"
        elif served is not None and row.served == "answered":
            if far := distance(served, table.pixels[row.name]):
                wrong[row.name] = f"{far} levels"
    assert wrong == {}


def test_what_serve_bytes_refuses_is_known_beforehand(table: Table, checked: CheckedPhotos) -> None:
    for row, facts in zip(table.good, checked.facts, strict=True):
        reason = why_not_served(row.content, facts)
        assert (reason is not None) == (row.served == "refused"), f"{row.name}: {reason}"
        assert reason is None or "serve_bytes" in reason or "TensorFlow" in reason


def damaged(rows: Sequence[PhotoFile], count: int, head: int) -> Iterator[tuple[str, bytes]]:
    """Copies of the rows in turn, damaged within their first bytes, with their names and numbers."""
    rng = random.Random(1)
    for number in range(count):
        row = rows[number * 7 % len(rows)]
        yield f"{row.name} ({number})", next(mutations(row.content[:head], rng)) + row.content[head:]


def _can_be_decoded(content: bytes) -> bool:
    return not isinstance(probe(content), str)


def test_the_orientation_is_the_same_in_the_graph_whatever_the_data_say(table: Table) -> None:
    string = tf.TensorSpec((), tf.string)
    graph = tf.function(exif_orientation, [string], autograph=False).get_concrete_function()
    turned = [row for row in table.rows if "exif" in row.name and len(row.content) < 100_000]
    copies = [(row.name, row.content) for row in turned] + list(damaged(turned, 600, 120))
    # Of a PNG whose checksums are wrong Python doesn't look for it; such a photo is refused.
    compared = [(name, content) for name, content in copies if ".png" not in name or _can_be_decoded(content)]
    found = {name: (orientation_of(content), int(graph(tf.constant(content)))) for name, content in compared}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}
    assert len(found) > 300 and {pair[0] for pair in found.values()} == {*range(1, 9)}


def test_serve_bytes_answers_of_damaged_photos_what_others_see_or_refuses(
    table: Table, serve: Callable[[bytes], np.ndarray | None]
) -> None:
    rows = [row for row in table.good if len(row.content) < 20_000]
    wrong, answered, refused = {}, 0, 0
    for name, content in damaged(rows, 500, 200):
        facts = probe(content)
        if isinstance(facts, str):
            continue
        served, reason = serve(content), why_not_served(content, facts)
        answered, refused = answered + (served is not None), refused + (served is None)
        if (served is None) != (reason is not None):
            wrong[name] = f"{reason}, and it {'refuses' if served is None else 'answers'}"
        elif served is not None and distance(served, decode(content).upright):
            wrong[name] = "other pixels"
    assert wrong == {}
    assert answered > 50 and refused > 5


# Standard error


READ_ALL = """
import sys
from pathlib import Path
import tensorflow as tf
from clan_tf.data.check.inspection import inspect_photo
from clan_tf.data import Photo
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches

photos = [Photo(str(path), 0) for path in sorted(Path(sys.argv[1]).iterdir())]
# What TensorFlow says when it starts has nothing to do with photos.
tf.constant(0)
print("BEGIN", file=sys.stderr, flush=True)
for photo in photos:
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
