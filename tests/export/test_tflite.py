"""TFLite files answer as the Keras model does, in their own runtime and in MediaPipe's."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.errors import CheckFailed
from clan_tf.export.metadata import with_metadata
from clan_tf.export.pruning import inference_model
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.layers.relation import RELATIONS
from clan_tf.models import CLAN, BranchClassifier
from clan_tf.rejection import Rejection
from clan_tf.runtime import ExportedModel, read_contract
from helpers.exports import NAMES, PHOTOS, RESIZE, SIZE, centres, contract_of, keras_answers, tflite_file


@pytest.mark.parametrize(
    ("quantization", "io", "tolerance", "relation"),
    [
        *(("none", "float32", 1e-4, relation) for relation in RELATIONS),
        ("float16", "float32", 5e-3, "embedded_gaussian"),
        ("dynamic", "uint8", 5e-2, "embedded_gaussian"),
        *(("int8", "uint8", 0.3, relation) for relation in RELATIONS),
    ],
)
def test_a_tflite_file_answers_as_keras_in_its_own_runtime_and_in_mediapipes(
    relation: str, quantization: str, io: str, tolerance: float, models: dict[str, BranchClassifier], tmp_path: Path
) -> None:
    model = models[relation]
    path = tflite_file(tmp_path / "birds.tflite", model, quantization, io)
    expected = keras_answers(model)
    with ExportedModel(path) as exported:
        answers = exported(PHOTOS)["probabilities"]
    assert np.abs(answers - expected).max() <= tolerance
    decided = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > (1e-3 if io == "float32" else 5e-2)
    np.testing.assert_array_equal(answers.argmax(axis=1)[decided], expected.argmax(axis=1)[decided])

    labels, scores = mediapipe_answers(path, PHOTOS)
    assert np.mean([label == NAMES[row.argmax()] for label, row in zip(labels, answers, strict=True)]) >= 0.98
    np.testing.assert_allclose(scores, answers.max(axis=1), atol=1e-3 if io == "float32" else 2e-2)


def mediapipe_answers(path: Path, photos: np.ndarray) -> tuple[list[str], list[float]]:
    """The label and score of each photo by MediaPipe's ImageClassifier, as a phone's app would have them."""
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    base = BaseOptions(model_asset_path=str(path))
    with vision.ImageClassifier.create_from_options(vision.ImageClassifierOptions(base, max_results=1)) as classifier:
        images = [mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo) for photo in photos]
        best = [classifier.classify(image).classifications[0].categories[0] for image in images]
    return [category.category_name for category in best], [category.score for category in best]


def test_mediapipe_withholds_the_answers_that_the_model_withholds(
    models: dict[str, BranchClassifier], tmp_path: Path
) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    model = models[RELATIONS[0]]
    expected = keras_answers(model)
    ordered = np.sort(expected.max(axis=1))
    rejection = Rejection(0.1, (float(np.float32(ordered[len(ordered) // 2 - 1 :][:2].mean())),))
    contract = replace(contract_of(model), rejection=rejection)
    content = classifier_to_tflite(inference_model(model, model.branches), RESIZE, "none", "float32")
    path = tmp_path / "birds.tflite"
    path.write_bytes(with_metadata(content, "birds", contract, "a test"))
    assert read_contract(path).rejection == rejection
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(path)), max_results=1)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        images = [mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo) for photo in PHOTOS]
        given = [bool(classifier.classify(image).classifications[0].categories) for image in images]
    assert given == rejection.accepts(expected).tolist()
    assert 0 < sum(given) < len(given)


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """Photos of four colours each."""
    few = np.random.default_rng(0).integers(0, 256, (24, 2, 2, 3), dtype="uint8")
    return few.repeat(RESIZE // 2, axis=1).repeat(RESIZE // 2, axis=2)


@pytest.fixture(scope="module")
def resnet(colours: np.ndarray) -> BranchClassifier:
    """Its heads are random, and scaled so that photos of different colours get different classes."""
    rng = np.random.default_rng(2)
    keras.utils.set_random_seed(1)
    model = CLAN("resnet50", 5, SIZE, resize_size=RESIZE, class_names=NAMES)
    for branch in model.branches:
        head = model.get_layer(f"logits_{branch}")
        head.kernel.assign(rng.normal(0, 1, head.kernel.shape))
        logits = np.asarray(keras.Model(model.inputs[0], head.output)(centres(colours)))
        head.kernel.assign(3 * head.kernel / logits.std(axis=0))
        head.bias.assign(-3 * logits.mean(axis=0) / logits.std(axis=0))
    return model


@pytest.mark.parametrize(
    ("quantization", "io", "margin"),
    [pytest.param("none", "float32", 1e-3, marks=pytest.mark.soak), ("int8", "uint8", 0.3)],
)
def test_a_resnet_with_caffe_preprocessing_answers_in_mediapipe_too(
    quantization: str, io: str, margin: float, resnet: BranchClassifier, colours: np.ndarray, tmp_path: Path
) -> None:
    path = tflite_file(tmp_path / "birds.tflite", resnet, quantization, io, calibration=colours)
    labels, scores = mediapipe_answers(path, colours)
    expected = keras_answers(resnet, colours)
    decided = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > margin
    assert len(set(labels)) > 2 and decided.mean() > 0.3
    assert [labels[index] for index in np.flatnonzero(decided)] == [NAMES[row.argmax()] for row in expected[decided]]
    np.testing.assert_allclose(scores, expected.max(axis=1), atol=margin)


def test_any_batch_and_int16_activations(models: dict[str, BranchClassifier], tmp_path: Path) -> None:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    model = models["dot_product"]
    pruned = inference_model(model, model.branches)
    runner = interpreters.Interpreter(
        model_content=classifier_to_tflite(pruned, RESIZE, any_batch=True)
    ).get_signature_runner()
    answers = runner(photos=PHOTOS[:7].astype("float32"))["probabilities"]
    np.testing.assert_allclose(answers, keras_answers(model, PHOTOS[:7]), atol=1e-4)
    with ExportedModel(tflite_file(tmp_path / "birds.tflite", model, "int16x8", "uint8")) as exported:
        np.testing.assert_allclose(exported(PHOTOS[:4])["probabilities"], keras_answers(model, PHOTOS[:4]), atol=1e-2)


def test_a_missing_operator_is_named() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {"answer": keras.layers.Lambda(tf.math.digamma)(inputs)})
    from clan_tf.export import to_tflite

    with pytest.raises(CheckFailed, match="Digamma"):
        to_tflite(model)


def test_any_other_failure_of_the_converter_is_told(
    models: dict[str, BranchClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bytes:
        raise RuntimeError("the graph is cyclic\n  at line 1")

    converter = SimpleNamespace(target_spec=SimpleNamespace(supported_ops=set()), convert=fail)
    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", lambda *args, **kwargs: converter)
    with pytest.raises(CheckFailed, match="TFLite's converter failed: the graph is cyclic$"):
        classifier_to_tflite(inference_model(models["gaussian"], ("top",)), RESIZE)
