"""Exported files answer as the Keras model does, wherever they run."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import load_experiment
from clan_tf.data import Photo, read_source
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.graph_decoding import decode_in_graph
from clan_tf.data.pipeline import View, evaluation_view
from clan_tf.data.sources import Box
from clan_tf.environment import describe_environment
from clan_tf.errors import CheckFailed, UserError
from clan_tf.evaluation import evaluate
from clan_tf.export import Comparison, Exporter, ExportOptions, export, gate, saved_model
from clan_tf.export.benchmark import benchmark_exports
from clan_tf.export.folding import convolution_macs, folded_convolution_macs
from clan_tf.export.gate import Limits, compare, failed_limits
from clan_tf.export.metadata import with_metadata
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.pruning import inference_model
from clan_tf.export.requirements import require_free
from clan_tf.export.sampling import stratified
from clan_tf.export.saved_model import write_servable
from clan_tf.export.selective import SelectiveQuantizer
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.export.writer import ExportWriter
from clan_tf.inference import predict
from clan_tf.layers.relation import RELATIONS
from clan_tf.models import CLAN, BranchClassifier, combine, load_model, save_model
from clan_tf.photos.reading import read_photo
from clan_tf.photos.view import numpy_evaluation_view
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.runtime.contract import Contract, read_contract
from clan_tf.runtime.exported import ExportedModel
from clan_tf.training.train import describe_data
from helpers.fuzzing import fuzz
from helpers.models import Row, build, clan

NAMES = ["red bird", "grün", "blue, small", "d", "e"]
SIZE, RESIZE = 32, 36
PHOTOS = np.random.default_rng(3).integers(0, 256, (24, RESIZE, RESIZE, 3), dtype="uint8")


def answering_model(**settings: object) -> BranchClassifier:
    """A tiny model whose weights are random everywhere, so that every part of it has a say."""
    model, _ = build(Row("model", clan(resize_size=RESIZE, class_names=NAMES, **settings), takes_photos=True))
    return model


def contract_of(model: BranchClassifier, input_size: int | None = RESIZE) -> Contract:
    return Contract(tuple(model.class_names), SIZE, RESIZE, "stretch", input_size, model.branches)


def keras_answers(model: BranchClassifier, photos: np.ndarray = PHOTOS) -> np.ndarray:
    """On the centres of square photos of the size that photos are resized to."""
    return np.asarray(model(centres(photos))["combined"])


def centres(photos: np.ndarray) -> np.ndarray:
    """What a model sees of photos of the size that photos are resized to."""
    edge = (RESIZE - SIZE) // 2
    return photos[:, edge:-edge, edge:-edge]


def tflite_file(path: Path, model: BranchClassifier, quantization: str = "none", io: str = "float32") -> Path:
    content = classifier_to_tflite(
        inference_model(model, model.branches), RESIZE, quantization, io, calibration=list(PHOTOS)
    )
    path.write_bytes(with_metadata(content, "birds", contract_of(model), "a test"))
    return path


def exported_file(path: Path, model: BranchClassifier) -> Path:
    """A `.tflite` or `.onnx` file."""
    if path.suffix == ".tflite":
        return tflite_file(path, model)
    path.write_bytes(classifier_to_onnx(inference_model(model, model.branches), contract_of(model)))
    return path


@pytest.fixture(scope="module")
def models() -> dict[str, BranchClassifier]:
    return {relation: answering_model(relation=relation) for relation in RELATIONS}


@pytest.fixture(scope="module")
def servable(models: dict[str, BranchClassifier], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = models["dot_product"]
    folder = tmp_path_factory.mktemp("servable") / "birds"
    explaining = inference_model(model, model.branches, features=["attention_mid_1"])
    pruned = inference_model(model, model.branches, per_branch=True)
    write_servable(pruned, contract_of(model, None), folder / "1", explaining)
    return folder


@pytest.fixture(scope="module")
def run(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run whose model has random weights: nothing has to be trained to be exported."""
    overrides = [f"data={{source: folders, root: {colour_folders}, image_size: {SIZE}, resize_size: {RESIZE}}}"]
    experiment = load_experiment("demo", overrides)
    source = read_source(experiment.data)
    run = RunDirectory.create("demo", root=tmp_path_factory.mktemp("runs"))
    run.write_start(experiment, describe_environment(), describe_data(experiment, source, {}))
    run.write_status("finished", epochs=1, best_epoch=1, best_accuracy=0.5, seconds=1.0)
    model, _ = build(
        Row(
            "model",
            lambda: CLAN("tiny", 3, SIZE, resize_size=RESIZE, class_names=list(source.class_names)),
            takes_photos=True,
        )
    )
    save_model(model, run.best)
    return run


# Folding and pruning


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("branches", [("mid_1", "mid_2", "top", "refined_top"), ("mid_1",), ("refined_top", "top")])
def test_folding_and_pruning_keep_the_probabilities(relation: str, branches: tuple[str, ...]) -> None:
    model = answering_model(relation=relation, scales=3)
    pruned = inference_model(model, branches, per_branch=True)
    photos = PHOTOS[:4, :SIZE, :SIZE].astype("float32")
    expected = {name: np.asarray(values) for name, values in model(photos).items()}
    answers = pruned(photos)
    combined = combine([expected[branch] for branch in branches], "probabilities")
    np.testing.assert_allclose(answers["probabilities"], combined, atol=1e-5)
    for branch in branches:
        np.testing.assert_allclose(answers[f"probabilities_{branch}"], expected[branch], atol=1e-5)
    assert pruned.count_params() < model.count_params()


@pytest.mark.parametrize("settings", [{"mid_refinement": "non_local"}, {"embed_dim": 200}, {"combination": "logits"}])
def test_other_refinements_are_folded_where_that_is_cheaper(settings: dict[str, object]) -> None:
    model = answering_model(**settings)
    photos = PHOTOS[:4, :SIZE, :SIZE].astype("float32")
    answers = inference_model(model, model.branches)(photos)["probabilities"]
    np.testing.assert_allclose(answers, model(photos)["combined"], atol=1e-5)


def conv_macs(tflite: bytes) -> int:
    """Products of all convolutions in a file: an independent count from the file's own shapes."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(tflite, 0))
    codes, subgraph = graph.operatorCodes, graph.subgraphs[0]
    total = 0
    for operator in subgraph.operators:
        if codes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D:
            output, kernel = (subgraph.tensors[index].shape for index in (operator.outputs[0], operator.inputs[1]))
            total += int(np.prod(output)) * int(np.prod(kernel[1:]))
    return total


def test_folding_lowers_the_measured_work_by_the_computed_share(models: dict[str, BranchClassifier]) -> None:
    model = models["embedded_gaussian"]
    whole, folded = (
        conv_macs(classifier_to_tflite(inference_model(model, model.branches, folded=folded), RESIZE))
        for folded in (False, True)
    )
    layer = model.refinements["mid_1"]
    normalization = 4 * 4 * 96  # part of a convolution in both files
    assert whole - folded == convolution_macs(layer) - folded_convolution_macs(layer) - normalization
    # By hand: without W_l and W_g, but with W_θ W_g and W_φ W_g on the top-level map of 2 x 2 positions.
    assert whole - folded == 16 * 96 * 96 + 4 * 128 * 96 - 4 * 128 * (48 + 48)


# TFLite


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize(
    ("quantization", "io", "tolerance"),
    [("none", "float32", 1e-4), ("float16", "float32", 5e-3), ("dynamic", "uint8", 5e-2), ("int8", "uint8", 0.2)],
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
    decided = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > (1e-3 if io == "float32" else 2e-2)
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


@pytest.mark.parametrize(("quantization", "io", "margin"), [("none", "float32", 1e-3), ("int8", "uint8", 0.1)])
def test_a_resnet_with_caffe_preprocessing_answers_in_mediapipe_too(
    quantization: str, io: str, margin: float, tmp_path: Path
) -> None:
    """Its heads are random, and scaled so that photos of different colours get different classes."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (24, 2, 2, 3), dtype="uint8")
    photos = colours.repeat(RESIZE // 2, axis=1).repeat(RESIZE // 2, axis=2)
    keras.utils.set_random_seed(0)
    model = CLAN("resnet50", 5, SIZE, resize_size=RESIZE, class_names=NAMES)
    for branch in model.branches:
        head = model.get_layer(f"logits_{branch}")
        head.kernel.assign(rng.normal(0, 1, head.kernel.shape))
        logits = np.asarray(keras.Model(model.inputs[0], head.output)(centres(photos)))
        head.kernel.assign(3 * head.kernel / logits.std(axis=0))
        head.bias.assign(-3 * logits.mean(axis=0) / logits.std(axis=0))
    content = classifier_to_tflite(
        inference_model(model, model.branches), RESIZE, quantization, io, calibration=list(photos)
    )
    path = tmp_path / "birds.tflite"
    path.write_bytes(with_metadata(content, "birds", contract_of(model), "a test"))
    labels, scores = mediapipe_answers(path, photos)
    expected = keras_answers(model, photos)
    decided = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > margin
    assert len(set(labels)) > 2 and decided.mean() > 0.5
    assert [labels[index] for index in np.flatnonzero(decided)] == [NAMES[row.argmax()] for row in expected[decided]]
    np.testing.assert_allclose(scores, expected.max(axis=1), atol=2 * margin)


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


@pytest.mark.parametrize("relation", RELATIONS)
def test_an_onnx_file_answers_as_keras_in_its_own_runtime(
    models: dict[str, BranchClassifier], relation: str, tmp_path: Path
) -> None:
    model = models[relation]
    pruned, path = inference_model(model, model.branches), tmp_path / "birds.onnx"
    for io in ("float32", "uint8"):
        path.write_bytes(classifier_to_onnx(pruned, contract_of(model), io))
        assert read_contract(path) == contract_of(model)
        with ExportedModel(path) as exported:
            np.testing.assert_allclose(exported(PHOTOS)["probabilities"], keras_answers(model), atol=1e-5)


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


# SavedModel

CLIENT = """
import json, sys
sys.modules["keras"] = sys.modules["clan_tf"] = None
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
serve = loaded.signatures
with np.load(sys.argv[2]) as file:
    photos, odd = file["photos"], file["odd"]
answers = {"float": serve["serve_float32"](photos=tf.constant(photos, tf.float32))["probabilities"].numpy()}
default = serve["serving_default"](photos=tf.constant(photos))
answers |= {"default": default["probabilities"].numpy(), "ids": default["label_ids"].numpy()}
answers["top"] = default["probabilities_top"].numpy()
answers["odd"] = serve["serving_default"](photos=tf.constant(odd))["probabilities"].numpy()
answers["map"] = serve["explain"](photos=tf.constant(photos))["attention_mid_1"].numpy()
encoded = [open(path, "rb").read() for path in sys.argv[4:]]
for bad in (b"", b"garbage", encoded[0][:300]):
    try:
        serve["serve_bytes"](photos=tf.constant([encoded[0], bad]))
    except tf.errors.OpError:
        continue
    sys.exit("a bad photo was answered")
answers["bytes"] = serve["serve_bytes"](photos=tf.constant(encoded))["probabilities"].numpy()
np.savez(sys.argv[3], **answers)
"""


def write_encoded(folder: Path) -> list[Path]:
    """Photos as the world has them: JPEG, PNG, WebP, grey, CMYK, transparent, and all EXIF orientations."""
    rng = np.random.default_rng(5)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype="uint8")).resize((80, 60), Image.Resampling.BICUBIC)
    variants = {"rgb.jpg": smooth, "rgb.png": smooth, "grey.jpg": smooth.convert("L"), "grey.png": smooth.convert("L")}
    variants |= {"cmyk.jpg": smooth.convert("CMYK"), "transparent.png": smooth.convert("RGBA")}
    for name, image in variants.items():
        image.save(folder / name)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        smooth.save(folder / f"turned_{orientation}.jpg", exif=exif)
        smooth.save(folder / f"turned_{orientation}.png", exif=exif)
        smooth.save(folder / f"turned_{orientation}.webp", exif=exif, lossless=True)
    return sorted(folder.iterdir())


def test_a_saved_model_answers_without_this_project_and_without_keras(
    servable: Path, models: dict[str, BranchClassifier], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    encoded = write_encoded(tmp_path / "photos")
    odd = np.random.default_rng(1).integers(0, 256, (2, 50, 70, 3), dtype="uint8")
    np.savez(tmp_path / "in.npz", photos=PHOTOS, odd=odd)
    arguments = [servable / "1", tmp_path / "in.npz", tmp_path / "out.npz", *encoded]
    done = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    model = models["dot_product"]
    with np.load(tmp_path / "out.npz") as answers:
        expected = keras_answers(model)
        for name in ("default", "float"):
            np.testing.assert_allclose(answers[name], expected, atol=1e-5)
        np.testing.assert_array_equal(answers["ids"], expected.argmax(axis=1))
        view = View(SIZE, RESIZE)
        seen = np.stack([evaluation_view(photo, view) for photo in odd])
        np.testing.assert_allclose(answers["odd"], model(seen)["combined"], atol=1e-5)
        features = model.with_outputs(["attention_mid_1", "top"])(PHOTOS[:, 2:-2, 2:-2])
        np.testing.assert_allclose(answers["map"], features["attention_mid_1"], atol=1e-5)
        np.testing.assert_allclose(answers["top"], features["top"], atol=1e-5)
        upright = [np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")) for path in encoded]
        seen = np.stack([evaluation_view(photo, view) for photo in upright])
        # Pillow makes RGB of CMYK by other roundings.
        np.testing.assert_allclose(answers["bytes"], model(seen)["combined"], atol=2e-2)


def test_labels_and_warm_up_requests_lie_in_the_saved_model(servable: Path) -> None:
    assert (servable / "1" / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines() == NAMES
    path = servable / "1" / "assets.extra" / "tf_serving_warmup_requests"
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    signatures = set(tf.saved_model.load(str(servable / "1")).signatures)
    assert len(records) == len(signatures) == 5
    for signature in signatures:
        assert sum(b"\x1a" + bytes([len(signature)]) + signature.encode() in record for record in records) == 1


# The gate and the command


def test_every_format_passes_the_gate_and_is_taken_by_predict_and_evaluate(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.export.gate.cores", lambda: 1)  # one measurement of speed is enough here
    runner = CliRunner()
    photo = read_source(run.experiment().data).photos("test")[0].name
    by_keras = predict(str(run.path), [photo])[0]["predictions"]
    evaluated = evaluate(str(run.path))
    formats = ("saved_model --per-branch", "tflite", "tflite --quantize float16 --io uint8", "onnx")
    for words in map(str.split, formats):
        result = runner.invoke(app, ["export", str(run.path), "--json", "--format", *words])
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        path, gate = Path(answer["path"]), answer["gate"]
        assert gate["passed"] and gate["photos"] == 15 and gate["decided_agreement"] == 1
        assert [speed["threads"] for speed in gate["speeds"]] == [1]
        assert json.loads((path.parent / "export.json").read_text(encoding="utf-8"))["gate"] == gate
        (by_file,) = predict(str(path), [photo])
        assert predict(str(path.parent), [photo]) == [by_file]
        assert [p["label"] for p in by_file["predictions"]] == [p["label"] for p in by_keras]
        assert by_file["predictions"][0]["probability"] == pytest.approx(by_keras[0]["probability"], abs=5e-3)
        again = evaluate(str(path.parent if "float16" in words else path))
        assert again.combined == evaluated.combined and again.photos == 15
        assert set(again.branches) == (set(evaluated.branches) if "--per-branch" in words else set())


def test_the_folder_of_an_export_stands_for_its_file(run: RunDirectory, tmp_path: Path) -> None:
    photo = read_source(run.experiment().data).photos("test")[0].name
    exported = export(str(run.path), ExportOptions("keras"), str(tmp_path / "keras"), samples=2)
    assert predict(str(tmp_path / "keras"), [photo]) == predict(str(exported.path), [photo])
    for text in ("", "[]", "[" * 100_000, '{"file": 5}', '{"file": ".."}', '{"file": "../run.tflite"}', '{"file": ""}'):
        (tmp_path / "keras" / "export.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"export.json: must name, as `file`"):
            predict(str(tmp_path / "keras"), [photo])


def test_what_exists_is_not_replaced_unless_asked(run: RunDirectory, tmp_path: Path) -> None:
    options = ExportOptions("keras")
    (tmp_path / "mine").mkdir()
    for force, name, message in ((False, "mine", "--force"), (True, "mine", "isn't an export")):
        with pytest.raises(UserError, match=message):
            export(str(run.path), options, str(tmp_path / name), force=force)
    assert export(str(run.path), options, str(tmp_path / "new"), samples=2).path.suffix == ".keras"
    with pytest.raises(UserError, match="exists"):
        export(str(run.path), options, str(tmp_path / "new"))
    assert export(str(run.path), options, str(tmp_path / "new"), samples=2, force=True).report.photos == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "new"]
    (tmp_path / "new" / "notes" / "mine.txt").parent.mkdir()
    (tmp_path / "new" / "notes" / "mine.txt").touch()
    with pytest.raises(UserError, match="--force: .*new also holds 'notes/mine.txt', which the export didn't write"):
        export(str(run.path), options, str(tmp_path / "new"), force=True)
    assert (tmp_path / "new" / "notes" / "mine.txt").exists()
    (tmp_path / "new" / "export.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="export.json: is damaged"):
        export(str(run.path), options, str(tmp_path / "new"), force=True)


def test_an_export_of_an_earlier_version_gives_way_with_all_that_is_below_its_file(tmp_path: Path) -> None:
    (tmp_path / "birds" / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (tmp_path / "birds" / name).touch()
    (tmp_path / "export.json").write_text('{"file": "birds"}', encoding="utf-8")
    require_free(tmp_path, force=True)
    (tmp_path / "birds.txt").touch()
    with pytest.raises(UserError, match="also holds 'birds.txt', which"):
        require_free(tmp_path, force=True)


def test_a_failed_gate_keeps_nothing_and_tells_the_numbers(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.export.gate.cores", lambda: 1)
    monkeypatch.setattr("clan_tf.export.gate.FLOAT32_DIFFERENCE", 0.0)
    monkeypatch.setattr("clan_tf.export.saved_model._whole_levels", lambda photo: tf.cast(photo // 2, tf.uint8))
    with pytest.raises(CheckFailed, match=r"(?s)wasn't kept.*a probability in .* differs.*15 photos.*largest"):
        export(str(run.path), ExportOptions("saved_model"), str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signature", ["serve_bytes", "serve_float32", "explain"])
def test_the_gate_asks_every_signature(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signature: str
) -> None:
    monkeypatch.setattr("clan_tf.export.gate.cores", lambda: 1)
    if signature == "serve_bytes":
        monkeypatch.setattr("clan_tf.export.saved_model.decode_upright", lambda content: decode_in_graph(content) // 2)
    elif signature == "serve_float32":
        whole = saved_model._whole_levels
        monkeypatch.setattr(
            saved_model, "_whole_levels", lambda photo: whole(photo) // (2 if photo.dtype == tf.float32 else 1)
        )
    else:
        monkeypatch.setattr(ExportWriter, "_explaining_model", lambda self, contract, fold: halved(self._model))
    with pytest.raises(CheckFailed, match=f"a probability in '{signature}' differs by"):
        export(str(run.path), ExportOptions("saved_model", explain=True), str(tmp_path / "out"), samples=3)


def test_the_gate_fails_where_predict_would_see_other_pixels(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.export.gate.cores", lambda: 1)
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


def halved(model: BranchClassifier) -> keras.Model:
    """The model, with probabilities that are half of what they should be."""
    pruned = inference_model(model, model.branches)
    return keras.Model(pruned.inputs, {"probabilities": pruned.output["probabilities"] / 2})


def test_a_killed_export_leaves_nothing_under_the_final_name(run: RunDirectory, tmp_path: Path) -> None:
    code = (
        "import os, sys; from importlib import import_module; from clan_tf.export import ExportOptions, export\n"
        "import_module('clan_tf.export.comparison').check_file = lambda *_: os._exit(9)\n"
        "export(sys.argv[1], ExportOptions('tflite'), sys.argv[2])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run.path), str(tmp_path / "out")], capture_output=True)
    assert done.returncode == 9, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.match(".partial-*-out")
    assert export(str(run.path), ExportOptions("tflite"), str(tmp_path / "out"), samples=2).path.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_model_with_nan_weights_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    model = answering_model()
    model.get_layer("logits_top").bias.assign(np.full(5, np.nan))
    save_model(model, tmp_path / "nan.keras")
    with pytest.raises(CheckFailed, match="NaN or infinity, such as logits_top/bias"):
        export(str(tmp_path / "nan.keras"), ExportOptions("tflite"), config=str(run.path / "config.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["nan.keras"]


def test_a_model_that_answers_nan_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    """Its weights are finite, but too large for float32."""
    model = load_model(run.best)
    kernel = model.get_layer("logits_top").kernel
    kernel.assign(np.where(np.arange(kernel.shape[1]) % 2, 3e38, -3e38) * np.ones(kernel.shape))
    save_model(model, tmp_path / "large.keras")
    with pytest.raises(CheckFailed, match="the model answers NaN"):
        export(str(tmp_path / "large.keras"), ExportOptions("tflite"), config=str(run.path / "config.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["large.keras"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflit"}, "Did you mean tflite"),
        ({"format": "saved_model", "quantize": "int8"}, "--quantize: is for --format tflite"),
        ({"format": "tflite", "quantize": "int4"}, "--quantize: must be one of"),
        ({"format": "tflite", "io": "int8"}, "--io: must be one of"),
        ({"format": "keras", "branches": ("top",)}, "--branches: is for"),
        ({"format": "tflite", "explain": True}, "--explain: is for --format saved_model"),
        ({"format": "tflite", "keep_float": ("clca",)}, "--keep-float: is for --quantize float16, dynamic, int8"),
        ({"format": "tflite", "quantize": "int8", "calibration_photos": 0}, "--calibration-photos: must be"),
        ({"format": "onnx", "calibration_photos": 9}, "--calibration-photos: is for --quantize int8, int16x8"),
        ({"format": "tflite", "quantize": "int8", "max_drop": -1.0}, "--max-drop: must be"),
        ({"format": "tflite", "quantize": "float16", "max_drop": 1.0}, "--max-drop: is for --quantize dynamic"),
        ({"format": "tflite", "quantize": "int8", "min_agreement": 101.0}, "--min-agreement: must be"),
    ],
)
def test_bad_combinations_are_one_clear_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ExportOptions(**options)


def test_accuracy_and_agreement_beyond_the_limits_fail() -> None:
    assert Limits.of(ExportOptions("tflite", "int8", max_drop=0.5)) == Limits(drop=0.5, agreement=98.0)
    assert Limits.of(ExportOptions("tflite", "dynamic", min_agreement=0.0)) == Limits(drop=1.0, agreement=0.0)
    labels = np.arange(10) % 2
    expected, answers = np.eye(2)[labels], np.eye(2)[[*labels[:9], 1 - labels[9]]]
    figures = compare({"probabilities": expected}, {"probabilities": answers}, labels)
    assert figures["agreement"] == 0.9 and figures["largest_difference"] == 1
    for kept, broken in ((Limits(drop=10.0), Limits(drop=9.0)), (Limits(agreement=90.0), Limits(agreement=91.0))):
        assert not failed_limits(figures, kept) and len(failed_limits(figures, broken)) == 1


def test_a_sample_holds_the_classes_in_turn(run: RunDirectory) -> None:
    photos = read_source(run.experiment().data).photos("train")
    chosen = stratified(photos, 7)
    counts = np.bincount([photo.label for photo in chosen])
    assert len(chosen) == 7 and counts.max() - counts.min() <= 1
    assert len(stratified(photos, 10_000)) == len(photos)


# Without TensorFlow


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


def test_predict_runs_a_tflite_file_with_few_packages(models: dict[str, BranchClassifier], tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "birds.tflite", models["dot_product"])
    Image.fromarray(PHOTOS[0]).save(tmp_path / "photo.png")
    expected = keras_answers(models["dot_product"])[0]
    # What `pip install typer` brings is there, too.
    typers = ("typer", "click", "rich", "pygments", "markdown_it", "mdurl", "shellingham", "annotated_doc")
    pydantics = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection")
    code = BLOCKED.format(allowed=typers + pydantics)
    code += "from clan_tf.cli.main import run; run()"
    arguments = ["predict", str(path), str(tmp_path / "photo.png"), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)[0]["predictions"][0]
    assert best == {"label": NAMES[expected.argmax()], "probability": pytest.approx(expected.max(), abs=1e-4)}


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_the_command_predicts_without_importing_tensorflow(
    models: dict[str, BranchClassifier], tmp_path: Path, suffix: str
) -> None:
    path = exported_file(tmp_path / f"birds{suffix}", models["dot_product"])
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


# Damaged files


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_damaged_files_get_a_message(models: dict[str, BranchClassifier], tmp_path: Path, suffix: str) -> None:
    good = exported_file(tmp_path / f"good{suffix}", models["dot_product"])
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


# Layers in floats


@pytest.mark.parametrize("quantization", ["float16", "dynamic", "int8"])
def test_layers_that_suffer_can_stay_float32(
    models: dict[str, BranchClassifier], quantization: str, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_quantizer")
    model = models["embedded_gaussian"]
    pruned = inference_model(model, model.branches)
    float_file = classifier_to_tflite(pruned, RESIZE, io="uint8")
    quantizer = SelectiveQuantizer(float_file, pruned, contract_of(model), quantization, PHOTOS[:6])
    ranked = quantizer.ranked_layers(PHOTOS[:6])
    assert sorted(ranked) == sorted(quantizer.layers) and "clca_mid_1" in ranked and "stage1_conv1" in ranked
    expected = keras_answers(model)

    def error(kept: list[str]) -> float:
        path = tmp_path / "birds.tflite"
        path.write_bytes(with_metadata(quantizer.quantize(kept), "birds", contract_of(model), "a test"))
        with ExportedModel(path) as exported:
            answers = exported(PHOTOS)["probabilities"]
        assert (answers * 256 % 1 > 0).any()  # not the steps of an int8
        return float(np.abs(answers - expected).mean())

    whole = error([])
    assert error(ranked) < whole / 2
    assert error(ranked[:8]) < whole
    if quantization != "dynamic":  # once is enough
        return
    labels = expected.argmax(axis=1)
    choices = list(quantizer.layers_to_keep(ranked, list(PHOTOS), labels, Limits()))
    assert choices == [ranked[:count] for count in (1, 2, 3, 5, 8, 12, 18, 27)[: len(choices)]]
    assert len(ranked) / 4 < len(choices[-1]) <= len(ranked) / 2
    # Where no choice is good enough, only the last one is left.
    assert list(quantizer.layers_to_keep(ranked, list(PHOTOS), labels, Limits(difference=0.0))) == [choices[-1]]


def test_the_search_begins_with_the_first_layers_that_are_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers a, b and c do the same harm; c is much larger, d does none. A file stands for the layers it keeps."""
    harm, size = {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.0}, {"a": 10, "b": 30, "c": 200, "d": 40}
    quantizer = object.__new__(SelectiveQuantizer)
    quantizer.layers, quantizer._file = list(harm), [*harm]

    def answers(file: Kept, photos: object) -> np.ndarray:
        lost = sum(harm[name] for name in harm if name not in file)
        return np.array([[0.9 - lost, 0.1 + lost]])

    monkeypatch.setattr(quantizer, "quantize", lambda kept: Kept(kept, 1000 + sum(size[name] for name in kept)))
    monkeypatch.setattr(quantizer, "_answers", answers)
    assert quantizer.ranked_layers([]) == ["a", "b", "c", "d"]
    size["a"] = 300  # larger than c now
    assert quantizer.ranked_layers([]) == ["b", "c", "a", "d"]
    label = np.array([0])
    for largest, first in ((0.35, 1), (0.25, 1), (0.15, 2), (0.05, 2)):
        choices = list(quantizer.layers_to_keep(["a", "b", "c", "d"], [], label, Limits(difference=largest)))
        assert choices[0] == ["a", "b", "c", "d"][:first], largest


class Kept(list):
    """The layers that a file keeps, with the length of the file."""

    def __init__(self, layers: list[str], length: int) -> None:
        super().__init__(layers)
        self._length = length

    def __len__(self) -> int:
        return self._length


def test_a_failed_gate_says_its_figures_where_no_layers_can_be_searched(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.export.gate.cores", lambda: 1)
    monkeypatch.setattr("clan_tf.export.gate.FLOAT16_DIFFERENCE", 0.0)
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(CheckFailed, match="(?s)tflite-float16 doesn't answer.*a probability in .* differs"):
        export(str(run.path), ExportOptions("tflite", "float16"), str(tmp_path / "out"), samples=2)


def test_an_int8_export_that_loses_too_much_keeps_layers_in_floats(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ai_edge_quantizer")
    monkeypatch.setattr(
        SelectiveQuantizer,
        "layers_to_keep",
        lambda *arguments: iter([["logits_top"], ["logits_top", "top"], ["combined"]]),
    )
    monkeypatch.setattr("clan_tf.export.gate.cores", lambda: 1)
    # The first files are made to fail, so that the third is wanted.
    outcomes = iter([("too much",), ("too much",), ()])
    monkeypatch.setattr("clan_tf.export.gate.failed_limits", lambda figures, limits: next(outcomes))
    options = ExportOptions("tflite", "int8", calibration_photos=6)
    result = export(str(run.path), options, str(tmp_path / "out"), samples=3)
    written = json.loads((result.folder / "export.json").read_text(encoding="utf-8"))
    assert written["options"]["keep_float"] == ["logits_top", "top"]
    with pytest.raises(UserError, match="no layer 'logits_tpo'. Did you mean logits_top"):
        export(str(run.path), replace(options, keep_float=("logits_tpo",)), str(tmp_path / "other"))
    # A file that makes the runtime abort ends a process of its own.
    monkeypatch.setattr("clan_tf.export.gate.failed_limits", lambda figures, limits: ("too much",))
    monkeypatch.setattr(SelectiveQuantizer, "quantize", lambda *arguments: b"damaged")
    with pytest.raises(CheckFailed, match="tflite-int8 can't be used: .*candidate.tflite: can't be run"):
        export(str(run.path), options, str(tmp_path / "other"), samples=3)
    assert not (tmp_path / "other").exists()


# Benchmark and fuzzing


def test_benchmark_compares_exports_and_single_files(
    run: RunDirectory, models: dict[str, BranchClassifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = (ExportOptions("tflite"), ExportOptions("tflite", "dynamic"))
    monkeypatch.setattr("clan_tf.export.benchmark.ALL_EXPORTS", chosen)
    few = ["--samples", "4", "--seconds", "0.1"]
    answer = json.loads(CliRunner().invoke(app, ["benchmark", str(run.path), *few, "--json"]).stdout)
    assert list(answer) == ["tflite-float32", "tflite-dynamic"]
    assert all([speed["threads"] for speed in report["speeds"]] == [1, 2] for report in answer.values())
    assert answer["tflite-float32"]["photos"] == 4 and answer["tflite-float32"]["agreement"] == 1
    exporter = Exporter(Comparison(str(run.path), samples=1))
    file = exporter.build(ExportOptions("tflite"), tmp_path, threads=[1], seconds=0.1).path
    table = CliRunner().invoke(app, ["benchmark", *few, str(file), "--run", str(run.path)]).output
    assert file.name in table and "100.00 %" in table and "memory" in table
    kept = export(str(run.path), ExportOptions("tflite"), str(tmp_path / "kept"), samples=1)
    (measured,) = benchmark_exports(str(kept.folder), samples=1, seconds=0.1, run=str(run.path)).values()
    assert measured.report.bytes == kept.path.stat().st_size
    with pytest.raises(UserError, match="isn't in a run directory.*--run RUN"):
        benchmark_exports(str(file), samples=1)
    others = tflite_file(tmp_path / "others.tflite", models["gaussian"])
    with pytest.raises(UserError, match="others.tflite: has other classes or branches than .*--run"):
        benchmark_exports(str(others), samples=1, run=str(run.path))


def test_damaged_files_of_every_kind_end_with_a_message(
    run: RunDirectory, models: dict[str, BranchClassifier], tmp_path: Path
) -> None:
    model = models["dot_product"]
    good = {kind: exported_file(tmp_path / f"good.{kind}", model) for kind in ("tflite", "onnx")} | {"keras": run.best}
    found = fuzz(tmp_path, good, 12)
    assert sum(found.values()) == 12
    assert {outcome.split(" ", 1)[1] for outcome in found} <= {"answered", "refused"}
