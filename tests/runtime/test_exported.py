"""Exported files are run without TensorFlow, and damaged ones are refused."""

import json
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from clan_tf.data.pipeline import View, evaluation_view
from clan_tf.errors import UserError
from clan_tf.inference import predict
from clan_tf.inference.exported_predictor import ExportedPredictor
from clan_tf.models import BranchClassifier
from clan_tf.photos import numpy_evaluation_view, read_photo
from clan_tf.runtime import ExportedModel, read_contract, worker_process
from clan_tf.runtime.exported import _require_probabilities
from clan_tf.runtime.worker_process import Arrays, _by_photo
from helpers.exports import NAMES, PHOTOS, answering_model, exported_file, keras_answers, tflite_file, write_encoded


@pytest.fixture(scope="module")
def model() -> BranchClassifier:
    return answering_model(relation="dot_product")


def test_photos_have_the_same_pixels_without_tensorflow(tmp_path: Path) -> None:
    for path in write_encoded(tmp_path):
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_photo(path), np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
    rng = np.random.default_rng(0)
    for height, width in ((60, 80), (37, 200), (300, 20), (48, 48)):
        photo = rng.integers(0, 256, (height, width, 3), dtype="uint8")
        for view in (View(40, 48), View(45, 48, "keep_aspect"), View(200, 224, "keep_aspect")):
            expected = evaluation_view(photo, view).numpy()
            difference = np.abs(numpy_evaluation_view(photo, *view).astype(int) - expected)
            # A window of a photo and the whole of it are summed in another order.
            assert difference.max() <= 1 and (difference > 0).mean() < 0.005


def test_only_what_the_crop_keeps_of_a_narrow_photo_is_resized() -> None:
    tracemalloc.start()
    try:
        view = numpy_evaluation_view(np.zeros((1, 2000, 3), "uint8"), 224, 256, "keep_aspect")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert view.shape == (224, 224, 3)
    assert peak < 64e6  # the whole photo, 256 x 512,000 pixels, would be 1,573 MB


BLOCKED = """
import importlib.abc, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        needed = ("clan_tf", "numpy", "PIL", "simplejpeg", "ai_edge_litert", *{allowed})
        is_python = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if top not in needed and not is_python:
            raise ImportError(f"{{name}} is not there")

sys.meta_path.insert(0, Block())
"""


def test_predict_runs_a_tflite_file_with_few_packages(model: BranchClassifier, tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "birds.tflite", model)
    Image.fromarray(PHOTOS[0]).save(tmp_path / "photo.png")
    expected = keras_answers(model)[0]
    # What `pip install typer` brings is there, too.
    typers = ("typer", "click", "rich", "pygments", "markdown_it", "mdurl", "shellingham", "annotated_doc")
    pydantics = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection")
    code = BLOCKED.format(allowed=typers + pydantics)
    code += "from clan_tf.cli.main import run; run()"
    arguments = ["predict", str(path), str(tmp_path / "photo.png"), "--json"]
    arguments += ["--csv", str(tmp_path / "table.csv"), "--sort-into", str(tmp_path / "sorted")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)[0]["predictions"][0]
    assert best == {"label": NAMES[expected.argmax()], "probability": pytest.approx(expected.max(), abs=1e-4)}
    assert (tmp_path / "table.csv").is_file() and (tmp_path / "sorted" / "predictions.csv").is_file()


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_the_command_predicts_without_importing_tensorflow(
    model: BranchClassifier, tmp_path: Path, suffix: str
) -> None:
    path = exported_file(tmp_path / f"birds{suffix}", model)
    Image.fromarray(PHOTOS[0]).save(tmp_path / "photo.png")
    code = (
        "import sys\nfor name in ('tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib'): sys.modules[name] = None\n"
        "from clan_tf.cli.main import run; run()"
    )
    arguments = ["predict", str(path), str(tmp_path / "photo.png"), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["predictions"][0]["label"] in NAMES
    done = subprocess.run([sys.executable, "-c", code, "evaluate", str(path)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("clan-tf: tensorflow isn't installed"), done.stderr


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_damaged_files_get_a_message(model: BranchClassifier, tmp_path: Path, suffix: str) -> None:
    good = exported_file(tmp_path / f"good{suffix}", model)
    content = good.read_bytes()
    Image.fromarray(PHOTOS[0]).save(tmp_path / "photo.png")
    damaged = {
        "empty": b"",
        "text": b"hello",
        "cut": content[: len(content) // 2],
        "zeros": bytes(len(content) - 4096) + content[-4096:],
    }
    for name, damage in damaged.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(damage)
        with pytest.raises(UserError, match=f"{path.name}: (can't be run|holds no readable)"):
            predict(str(path), [str(tmp_path / "photo.png")])
    with pytest.raises(UserError, match="no such|there is no"):
        predict(str(tmp_path / f"none{suffix}"), [str(tmp_path / "photo.png")])
    assert read_contract(good).class_names == tuple(NAMES)


def test_answers_that_are_no_probabilities_are_refused() -> None:
    def refuse(*rows: list[float]) -> str:
        with pytest.raises(UserError) as error:
            _require_probabilities("birds.tflite: probabilities", np.array(rows, "float32"))
        return str(error.value)

    assert "must be from 0 to 1; received -77.68 to 77.68" in refuse([77.68, -77.68])
    assert "must be from 0 to 1; received -3 to 1" in refuse([0.5, 0.5], [-3, 1])
    assert "must add up to 1; received 2" in refuse([0.5, 0.5], [1, 1])
    assert "must add up to 1; received 0.25" in refuse([0.25, 0])
    _require_probabilities("none", np.zeros((0, 5), "float32"))


@pytest.mark.parametrize("classes", [2, 3, 200, 1000])
def test_probabilities_in_steps_of_integers_are_taken(classes: int, rng: np.random.Generator) -> None:
    """Of 1,000 equally probable classes each is rounded to 0, and of 200 all upwards."""
    for sharpness in (0.0, 1.0, 20.0):
        logits = sharpness * rng.normal(size=(50, classes))
        rows = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows /= rows.sum(axis=1, keepdims=True)
        _require_probabilities("float32", rows)
        for step in (1 / 256, 1 / 128):
            _require_probabilities("int8", (np.round(rows / step) * step).clip(0, 1 - step))
        # The combination of branches may be cut off where no calibration photo was surer.
        _require_probabilities("cut off", rows.clip(0, 0.6))


def test_a_file_with_other_outputs_than_probabilities_ends_predict(
    model: BranchClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported_file(tmp_path / "birds.tflite", model)
    with ExportedModel(path) as exported:
        monkeypatch.setattr(exported, "_exchange", lambda *_: ({}, {"probabilities": np.array([[7.0, -7, 0, 0, 1]])}))
        with pytest.raises(UserError, match="birds.tflite: probabilities must be from 0 to 1; received -7 to 7"):
            exported(PHOTOS[:1])


def test_many_photos_are_answered_by_copies_of_the_file_as_one_by_one(model: BranchClassifier, tmp_path: Path) -> None:
    """Each copy answers in a thread of its own; the answers keep the order of the photos."""
    for suffix in (".tflite", ".onnx"):
        path = exported_file(tmp_path / f"birds{suffix}", model)
        with ExportedModel(path, threads=3) as exported:
            one_by_one = [exported(photo[None])["probabilities"] for photo in PHOTOS]
            at_once = exported(PHOTOS)["probabilities"]
        np.testing.assert_allclose(at_once, np.concatenate(one_by_one), atol=1e-6)
        assert len({row.tobytes() for row in at_once}) == len(PHOTOS)


def test_several_photos_are_answered_at_the_same_time_by_no_more_copies_than_needed() -> None:
    """Two answers wait for each other: one after the other they never would come."""
    both = threading.Barrier(2, timeout=20)
    opened = []

    def open_copy() -> Callable[[np.ndarray], Arrays]:
        def answer(photo: np.ndarray) -> Arrays:
            both.wait()
            return {"probabilities": photo.reshape(1, -1)}

        opened.append(answer)
        return answer

    answer = _by_photo(lambda photo: {"probabilities": -photo.reshape(1, -1)}, open_copy, 2)
    photos = np.arange(6).reshape(6, 1, 1, 1)
    np.testing.assert_array_equal(answer(photos[:2])["probabilities"], [[0], [-1]])
    assert opened == []  # they take time to open
    np.testing.assert_array_equal(answer(photos)["probabilities"], photos.reshape(6, 1))
    assert len(opened) == 2


def test_large_files_are_opened_fewer_times(
    model: BranchClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported_file(tmp_path / "birds.tflite", model)
    copies = []
    monkeypatch.setattr(worker_process, "_by_photo", lambda alone, open_copy, count: copies.append(count))
    for size in (3 * path.stat().st_size, path.stat().st_size // 2):
        monkeypatch.setattr(worker_process, "COPIES_BYTES", size)
        worker_process.open_tflite(str(path), 8)
    assert copies == [3, 1]


def test_a_batch_of_views_is_asked_at_once_after_the_first(
    model: BranchClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExportedPredictor(ExportedModel(exported_file(tmp_path / "birds.tflite", model)), Path("birds")) as predictor:
        ask, asked = ExportedModel.__call__, []

        def counted(running: ExportedModel, photos: np.ndarray) -> dict[str, np.ndarray]:
            asked.append(len(photos))
            return ask(running, photos)

        monkeypatch.setattr(ExportedModel, "__call__", counted)
        views = [predictor.view(photo) for photo in PHOTOS[:3]]
        first, second = predictor.probabilities(views), predictor.probabilities(views)
    assert asked == [1, 2, 3]
    np.testing.assert_allclose(first, second, atol=1e-6)
