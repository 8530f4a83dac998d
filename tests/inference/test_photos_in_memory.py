"""Arrays and Pillow images are predicted as the files with the same pixels are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import clan_tf
from clan_tf.errors import UserError
from clan_tf.models import BranchClassifier
from clan_tf.photos import read_photo, rgb_in_memory
from helpers.exports import PHOTOS, answering_model, tflite_file, write_encoded

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


@pytest.fixture(scope="module")
def classifier() -> BranchClassifier:
    return answering_model()


@pytest.fixture(scope="module")
def model(classifier: BranchClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tflite_file(tmp_path_factory.mktemp("model") / "birds.tflite", classifier)


def picture(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.random.default_rng(0).integers(0, 2**16, (20, 30), dtype="uint16"))
    image = Image.fromarray(PHOTOS[0]).resize((30, 20))
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(PHOTOS[1][..., 0]).resize((30, 20)))
    return image.convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_an_image_has_the_pixels_of_its_file(tmp_path: Path, mode: str) -> None:
    image = picture(mode)
    image.save(tmp_path / "photo.png")
    np.testing.assert_array_equal(rgb_in_memory(image), read_photo(tmp_path / "photo.png"))


def test_opened_images_are_turned_and_converted_as_their_files_are(tmp_path: Path) -> None:
    paths = write_encoded(tmp_path)
    for path in paths:
        with Image.open(path) as image:
            np.testing.assert_array_equal(rgb_in_memory(image), read_photo(path), err_msg=path.name)
    sideways = tmp_path / "turned_6.jpg"
    with Image.open(sideways) as image:
        assert rgb_in_memory(image.convert("L")).shape == (80, 60, 3)
        assert rgb_in_memory(image).shape != (*reversed(image.size), 3)


@pytest.mark.parametrize("kind", ["tflite", "keras"])
def test_the_same_pixels_give_the_same_answer(
    classifier: BranchClassifier, model: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "keras":
        model = tmp_path / "birds.keras"
        classifier.save(model)
    path, grey = tmp_path / "photo.png", tmp_path / "grey.png"
    rgba = np.dstack([PHOTOS[0], PHOTOS[1][..., :1]])
    Image.fromarray(PHOTOS[0]).save(path)
    Image.fromarray(PHOTOS[0][..., 0]).save(grey)
    with Image.open(path) as image:
        given = [PHOTOS[0], path, image, rgba, str(grey), PHOTOS[0][..., 0], PHOTOS[0][..., :1]]
        results = clan_tf.predict(model, given)
    assert [result["path"] for result in results] == [None, str(path), None, None, str(grey), None, None]
    assert [result.get("index") for result in results] == [0, None, 2, 3, None, 5, 6]
    answers = [result["predictions"] for result in results]
    assert answers[0] == answers[1] == answers[2] == answers[3] != answers[4]
    assert answers[4] == answers[5] == answers[6]


def test_one_photo_a_folder_and_a_batch(model: Path, tmp_path: Path) -> None:
    for index in (0, 1):
        Image.fromarray(PHOTOS[index]).save(tmp_path / f"{index}.png")
    files = clan_tf.predict(model, tmp_path)
    batch = clan_tf.predict(model, PHOTOS[:2], batch_size=1)
    mixed = clan_tf.predict(model, [PHOTOS[1], str(tmp_path), PHOTOS[0]])
    assert [result["index"] for result in batch] == [0, 1]
    assert [result["predictions"] for result in files] == [result["predictions"] for result in batch]
    assert [result["path"] and Path(result["path"]).name for result in mixed] == [None, "0.png", "1.png", None]
    assert [mixed[index]["predictions"] for index in (3, 0)] == [result["predictions"] for result in batch]
    (alone,) = clan_tf.predict(model, PHOTOS[0])
    assert alone == batch[0] and clan_tf.predict(model, Image.fromarray(PHOTOS[0])) == [alone]
    assert clan_tf.predict(model, str(tmp_path / "0.png")) == files[:1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: PHOTOS[0] / np.float32(255), r"paths: a photo as an array is uint8 .*received float32 .*astype"),
        (lambda: [PHOTOS[0], PHOTOS[0].astype("int64")], r"paths\[1\]: .*received int64 \(36, 36, 3\)"),
        (lambda: np.zeros((5, 4, 2), "uint8"), r"received uint8 \(5, 4, 2\)"),
        (lambda: np.zeros((0, 4, 3), "uint8"), r"received uint8 \(0, 4, 3\)"),
        (lambda: [PHOTOS[:2]], r"paths\[0\]: .*received uint8 \(2, 36, 36, 3\)"),
        (lambda: PHOTOS[:2].astype("float32"), r"paths\[0\]: .*received float32 \(36, 36, 3\)"),
        (lambda: np.zeros(9, "uint8"), r"received uint8 \(9,\)"),
        (lambda: Image.new("F", (3, 2)), "received the mode F"),
        (lambda: [[1, 2]], r"paths\[0\]: must be a path, a NumPy array or a Pillow image; received list"),
        (lambda: 3, "received int 3"),
        (lambda: [b"photo.jpg"], "received bytes"),
        (lambda: None, "received NoneType"),
    ],
)
def test_what_is_no_photo_is_refused_with_the_rule(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        clan_tf.predict("no model is needed", wrong())


def test_an_image_whose_file_is_cut_gets_an_error_like_the_file(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(PHOTOS[0]).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    with Image.open(path) as image:
        bad, good = clan_tf.predict(model, [image, PHOTOS[0]])
    assert (bad["path"], bad["index"]) == (None, 0) and bad["error"].startswith("damaged or cut short")
    assert good["predictions"]
