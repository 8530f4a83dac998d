"""No file is kept that answers otherwise than the Keras model."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from clan_tf.data import Photo
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.graph_decoding import decode_in_graph
from clan_tf.data.sources import Box
from clan_tf.errors import CheckFailed
from clan_tf.export import Comparison, ExportOptions, export, gate, saved_model
from clan_tf.export.gate import Limits, compare, failed_limits
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from helpers.exports import PHOTOS

Answers = Mapping[str, np.ndarray]


def test_the_gate_asks_every_signature_and_keeps_no_file_of_which_one_answers_otherwise(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, compared = saved_model._whole_levels, gate.compare
    differences = {}

    def recorded(expected: Answers, answers: Answers, labels: np.ndarray, margin: float) -> dict[str, Any]:
        differences.update({name: np.nanmax(np.abs(values - answers[name])) for name, values in expected.items()})
        return compared(expected, answers, labels, margin)

    monkeypatch.setattr(gate, "compare", recorded)
    monkeypatch.setattr(saved_model, "decode_upright", lambda content: decode_in_graph(content) // 2)
    monkeypatch.setattr(
        saved_model, "_whole_levels", lambda photo: whole(photo) // (2 if photo.dtype == tf.float32 else 1)
    )
    answers = saved_model._answers
    monkeypatch.setattr(saved_model, "_answers", lambda *how: answers(halved_to_explain(how[0], *how[2:]), *how[1:]))
    named = r"(?s)wasn't kept.*a probability in '(serve_bytes|serve_float32|explain)' differs.*15 photos.*largest"
    with pytest.raises(CheckFailed, match=named):
        export(str(run.path), ExportOptions("saved_model", explain=True), str(tmp_path / "out"))
    wrong = {name for name, difference in differences.items() if difference > gate.FLOAT32_DIFFERENCE}
    assert wrong == {"serve_bytes", "serve_float32", "explain"} < differences.keys()
    assert list(tmp_path.iterdir()) == []


def test_the_gate_fails_where_predict_would_see_other_pixels(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gate.decode
    monkeypatch.setattr(gate, "decode", lambda content: replace(whole(content), stored=whole(content).stored[::-1]))
    with pytest.raises(CheckFailed, match="predict sees other pixels of .*jpg than evaluation does"):
        export(str(run.path), ExportOptions("onnx"), str(tmp_path / "out"), samples=3)


def test_a_few_photos_of_every_kind_go_the_way_of_predict_and_serve_bytes_is_spared_some(tmp_path: Path) -> None:
    photo = Image.fromarray(PHOTOS[0])
    photo.save(tmp_path / "photo.png")
    photo.quantize(8).save(tmp_path / "palette.bmp")
    photo.save(tmp_path / "moving.webp", save_all=True, append_images=[photo.rotate(90)])
    names = ["photo.png"] * 5 + ["palette.bmp", "moving.webp"]
    checked = check_photos([Photo(str(tmp_path / name), 0) for name in names])
    assert not checked.broken and gate._few_of_each_kind(checked) == [0, 1, 2, 5, 6]
    reasons = gate._not_served(checked)
    assert reasons.keys() == {5, 6} and "BMP" in reasons[5] and "animated WebP" in reasons[6]
    boxed = replace(checked, photos=[replace(photo, box=Box(1, 1, 9, 9)) for photo in checked.photos])
    assert gate._few_of_each_kind(boxed) == []


def test_photos_are_read_again_only_where_serve_bytes_takes_some_of_a_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Image.fromarray(PHOTOS[0])
    for name in ("photo.jpg", "photo.png", "photo.gif"):
        photo.save(tmp_path / name)
    checked = check_photos([Photo(str(path), 0) for path in sorted(tmp_path.iterdir())])
    read = []
    monkeypatch.setattr(gate, "read_content", lambda photo: read.append(photo.name) or Path(photo.name).read_bytes())
    assert gate._not_served(checked) == {}
    assert read == [str(tmp_path / "photo.gif")]


def test_files_that_resize_photos_are_asked_without_a_comparison_of_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(PHOTOS[0]).save(tmp_path / "photo.png")
    checked = check_photos([Photo(str(tmp_path / "photo.png"), 0)])
    monkeypatch.setattr(gate, "views_of_contract", None)
    answers, failures = gate._as_predict_sees(_ResizingModel(), checked, 2)
    np.testing.assert_array_equal(answers, np.array([[PHOTOS[0].mean(), 0]], "float32"))
    assert failures == []


class _ResizingModel:
    batch_size = 4
    contract = SimpleNamespace(input_size=None)

    def view(self, photo: np.ndarray) -> np.ndarray:
        return photo

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([[view.mean(), 0] for view in views])


def test_answers_that_were_not_asked_for_do_not_count() -> None:
    labels, expected = np.zeros(2, int), np.array([[0.9, 0.1], [0.8, 0.2]])
    both = {"probabilities": expected, "serve_bytes": expected}
    spared = np.array([[0.9, 0.1], [np.nan, np.nan]])
    assert compare(both, both | {"serve_bytes": spared}, labels)["largest_difference"] == 0
    spared[0, 0] = 0.8
    figures = compare(both, both | {"serve_bytes": spared}, labels)
    assert (figures["largest_in"], figures["largest_difference"]) == ("serve_bytes", pytest.approx(0.1))


def test_serve_bytes_is_not_asked_where_boxes_are_used() -> None:
    exporter = object.__new__(Comparison)
    exporter.progress = Progress()
    for box, signatures in ((None, ["serve_float32", "serve_bytes"]), (Box(1, 1, 9, 9), ["serve_float32"])):
        exporter.photos = SimpleNamespace(photos=[Photo("a", 0, box=box)])
        assert exporter.further_signatures(ExportOptions("saved_model")) == signatures


def halved_to_explain(model: keras.Model, _: Any, names: Sequence[str]) -> keras.Model:
    """The model, but with half of the probabilities it should give where attention maps are asked for."""
    if not any(name.startswith("attention_") for name in names):
        return model
    return keras.Model(model.inputs, model.output | {"probabilities": model.output["probabilities"] / 2})


def test_accuracy_and_agreement_beyond_the_limits_fail() -> None:
    assert Limits.of(ExportOptions("tflite", "int8", max_drop=0.5)) == Limits(drop=0.5, agreement=98.0)
    assert Limits.of(ExportOptions("tflite", "dynamic", min_agreement=0.0)) == Limits(drop=1.0, agreement=0.0)
    labels = np.arange(10) % 2
    expected, answers = np.eye(2)[labels], np.eye(2)[[*labels[:9], 1 - labels[9]]]
    figures = compare({"probabilities": expected}, {"probabilities": answers}, labels)
    assert figures["agreement"] == 0.9 and figures["largest_difference"] == 1
    for kept, broken in ((Limits(drop=10.0), Limits(drop=9.0)), (Limits(agreement=90.0), Limits(agreement=91.0))):
        assert not failed_limits(figures, kept) and len(failed_limits(figures, broken)) == 1


def test_a_failed_gate_says_its_figures_where_no_layers_can_be_searched(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.export.gate.FLOAT16_DIFFERENCE", 0.0)
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(CheckFailed, match="(?s)tflite-float16 doesn't agree.*a probability in .* differs"):
        export(str(run.path), ExportOptions("tflite", "float16"), str(tmp_path / "out"), samples=2)


def test_models_whose_squares_move_may_differ_more_in_float32_alone() -> None:
    usual, moving = (Limits.of(ExportOptions(format="tflite"), rounding) for rounding in (1.0, 20.0))
    assert (usual.difference, usual.margin) == (1e-4, 1e-3)
    assert (moving.difference, moving.margin) == pytest.approx((2e-3, 4e-3))
    half = ExportOptions(format="tflite", quantize="float16")
    assert Limits.of(half, 20.0) == Limits.of(half)
    # Two probabilities that may each differ by 0.002 can change places.
    own, other = {"probabilities": np.array([[0.501, 0.499]])}, {"probabilities": np.array([[0.4995, 0.5005]])}
    assert not failed_limits(compare(own, other, np.array([0]), moving.margin), moving)
    assert failed_limits(compare(own, other, np.array([0]), usual.margin), usual)
