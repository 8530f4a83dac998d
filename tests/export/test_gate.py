"""No file is kept that answers otherwise than the Keras model."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.data import Photo
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.graph_decoding import decode_in_graph
from clan_tf.data.sources import Box
from clan_tf.errors import CheckFailed, UserError
from clan_tf.export import Comparison, ExportOptions, export, gate, saved_model, writer
from clan_tf.export.batches import failed_batches
from clan_tf.export.decisions import withholding, wrong_decisions
from clan_tf.export.gate import Limits, compare, failed_limits
from clan_tf.progress import Progress
from clan_tf.rejection import Rejection
from clan_tf.run import RunDirectory
from helpers.exports import PHOTOS, SIZE, unsure_file

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
    # The same rule: what may differ by 0.005 may change places up to 0.01.
    assert (Limits.of(half).difference, Limits.of(half).margin) == (5e-3, 1e-2)
    assert (Limits.of(half, 1.0, 2.0).difference, Limits.of(half, 1.0, 2.0).margin) == (1e-2, 2e-2)
    legal = {"probabilities": np.array([[0.503, 0.497]])}, {"probabilities": np.array([[0.499, 0.501]])}
    assert not failed_limits(compare(*legal, np.array([0]), Limits.of(half).margin), Limits.of(half))
    # Two probabilities that may each differ by 0.002 can change places.
    own, other = {"probabilities": np.array([[0.501, 0.499]])}, {"probabilities": np.array([[0.4995, 0.5005]])}
    assert not failed_limits(compare(own, other, np.array([0]), moving.margin), moving)
    assert failed_limits(compare(own, other, np.array([0]), usual.margin), usual)


class _Batches:
    """Answers with the mean of a photo's first column, and several photos at once as it is told."""

    def __init__(self, at_once: Callable[[np.ndarray], np.ndarray], is_folder: bool = False) -> None:
        self.contract = SimpleNamespace(input_size=None if is_folder else SIZE, rejection=None)
        self.path = SimpleNamespace(is_dir=lambda: is_folder)
        self.at_once, self.asked = at_once, []

    def __call__(self, photos: np.ndarray, name: str | None = None, together: bool = False) -> Answers:
        self.asked.append((name, photos.shape))
        if name == "serve_bytes":
            photos = np.stack([np.asarray(Image.open(BytesIO(photo.tobytes()))) for photo in photos])
        mean = photos[:, :, 0].mean(axis=(1, 2)) / 255
        probabilities = np.stack([mean, 1 - mean], axis=1)
        if together:
            probabilities = self.at_once(probabilities)
        return {"probabilities": probabilities, "label_ids": probabilities.argmax(axis=1)}


def test_several_photos_at_once_must_be_answered_as_one_by_one() -> None:
    assert failed_batches(_Batches(lambda rows: rows), PHOTOS[0], (), 1e-4) == []
    (failure,) = failed_batches(_Batches(lambda rows: np.roll(rows, 1, axis=0)), PHOTOS[0], (), 1e-4)
    assert failure.startswith("probabilities of 3 photos at once differ by 0.")

    def refused(rows: np.ndarray) -> np.ndarray:
        raise UserError("birds.onnx: can't be run: Reshape of 3 to 1")

    (failure,) = failed_batches(_Batches(refused), PHOTOS[0], (), 1e-4)
    assert failure == "3 photos at once can't be answered: birds.onnx: can't be run: Reshape of 3 to 1"


def test_every_signature_gets_several_photos_of_which_large_ones_are_cut() -> None:
    model = _Batches(lambda rows: rows, is_folder=True)
    photo = np.random.default_rng(0).integers(0, 256, (700, 20, 3), dtype="uint8")
    assert failed_batches(model, photo, ("serve_float32", "serve_bytes"), 1e-4) == []
    shapes = {name: shape for name, shape in model.asked if shape[0] == 3}
    assert shapes.pop("serve_bytes")[0] == 3 and shapes == dict.fromkeys((None, "serve_float32"), (3, 512, 20, 3))


@pytest.mark.parametrize(
    "words",
    [
        *("onnx", "tflite --any-batch"),
        *(
            pytest.param(words, marks=pytest.mark.soak)
            for words in ("tflite --quantize dynamic --any-batch", "saved_model")
        ),
    ],
)
def test_an_export_that_takes_several_photos_at_once_is_asked_for_some(
    words: str, run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def recorded(*how: Any) -> list[str]:
        found.append(failed_batches(*how))
        return found[-1]

    monkeypatch.setattr(gate, "failed_batches", recorded)
    arguments = ["export", str(run.path), "--output", str(tmp_path / "out"), "--samples", "2", "--format"]
    result = CliRunner().invoke(app, [*arguments, *words.split()])
    assert result.exit_code == 0, (result.output, result.exception)
    assert found == [[]]


def test_a_file_that_takes_one_photo_alone_fails_where_any_number_is_promised(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writer.classifier_to_tflite
    monkeypatch.setattr(writer, "classifier_to_tflite", lambda *how: written(*how[:4], False, *how[5:]))
    with pytest.raises(CheckFailed, match="3 photos at once can't be answered: .*tflite: can't be run"):
        export(str(run.path), ExportOptions("tflite", any_batch=True), str(tmp_path / "out"), samples=2)


def test_decisions_must_follow_from_the_probabilities_beside_them() -> None:
    rejection = Rejection(0.1, (0.7,))
    rows = np.array([[0.9, 0.1], [0.4, 0.6], [np.nan, np.nan]], "float32")
    good = {
        **{"probabilities": rows[:2], "label_ids": np.array([0, 1]), "accepted": np.array([True, False])},
        **{"serve_bytes": rows, "serve_bytes.label_ids": np.array([0, 1, 5])},
        "serve_bytes.accepted": np.array([True, False, True]),
    }
    assert wrong_decisions(good, ["serve_bytes"], rejection) == []
    assert wrong_decisions(good, ["serve_bytes"], None) == []
    swapped = good | {"serve_bytes.label_ids": np.array([1, 0, 5])}
    assert wrong_decisions(swapped, ["serve_bytes"], rejection) == [
        "'label_ids' of serve_bytes doesn't follow from the probabilities beside it"
    ]
    (failure,) = wrong_decisions(good | {"accepted": np.array([True, True])}, [], rejection)
    assert failure.startswith("'accepted' of serving_default doesn't")
    del good["accepted"]
    assert wrong_decisions(good, [], rejection) == ["the output 'accepted' of serving_default is missing"]


def test_the_reject_option_of_a_file_is_compared_with_the_models() -> None:
    labels = np.array([0, 0, 1, 1])
    own = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    other = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.3, 0.7]])
    figures = withholding(Rejection(0.1, (0.75,)), own, other, labels)
    assert (figures.keras_coverage, figures.coverage) == (0.75, 0.25)
    assert (figures.keras_error, figures.error) == (pytest.approx(1 / 3), 0)
    assert withholding(Rejection(0.1, (0.95,)), own, other, labels).error is None


def test_a_saved_model_that_accepts_otherwise_than_its_threshold_is_not_kept(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = unsure_file(run, tmp_path)
    answers = saved_model._answers
    other = Rejection(0.05, (0.0,))
    monkeypatch.setattr(saved_model, "_answers", lambda *how: answers(how[0], other, *how[2:]))
    config = str(run.path / "config.yaml")
    with pytest.raises(CheckFailed, match="'accepted' of serving_default doesn't follow"):
        export(unsure, ExportOptions("saved_model"), str(tmp_path / "out"), config=config)
