"""SavedModels answer as the Keras model does, without this project and without Keras."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from clan_tf.data.pipeline import View, evaluation_view
from clan_tf.export.pruning import inference_model
from clan_tf.export.saved_model import write_servable
from clan_tf.models import BranchClassifier
from clan_tf.rejection import Rejection
from helpers.exports import NAMES, PHOTOS, RESIZE, SIZE, contract_of, keras_answers, write_encoded

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
answers["accepted"] = default["accepted"].numpy()
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


def rejection_of(model: BranchClassifier) -> Rejection:
    """Withholds about a quarter of the answers, more of those of the last class."""
    answers = keras_answers(model).max(axis=1)
    few, many = (float(np.quantile(answers, share) + 1e-5) for share in (0.25, 0.5))
    return Rejection(0.1, (few,) * (len(NAMES) - 1) + (many,))


@pytest.fixture(scope="module")
def servable(models: dict[str, BranchClassifier], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = models["dot_product"]
    folder = tmp_path_factory.mktemp("servable") / "birds"
    pruned = inference_model(model, model.branches, per_branch=True, features=["attention_mid_1"])
    contract = replace(contract_of(model, None), rejection=rejection_of(model))
    write_servable(pruned, contract, folder / "1", ["attention_mid_1"])
    return folder


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
        np.testing.assert_array_equal(answers["accepted"], rejection_of(model).accepts(expected))
        assert 0 < answers["accepted"].sum() < len(PHOTOS)
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


def test_the_weights_are_stored_once_and_nothing_is_normalised(
    servable: Path, models: dict[str, BranchClassifier]
) -> None:
    graph = SavedModel.FromString((servable / "1" / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert not {"FusedBatchNormV3", "Rsqrt"} & {node.op for node in nodes}
    model = models["dot_product"]
    stored = tf.train.list_variables(str(servable / "1" / "variables" / "variables"))
    numbers = sum(np.prod(shape) for name, shape in stored if name.endswith("VARIABLE_VALUE"))
    assert numbers == inference_model(model, model.branches).count_params()


def test_the_signatures_have_the_outputs_they_should_have(servable: Path) -> None:
    signatures = tf.saved_model.load(str(servable / "1")).signatures
    every = {"probabilities", "label_ids", "accepted"}
    branches = {f"probabilities_{name}" for name in ("mid_1", "top", "refined_top")}
    assert set(signatures["explain"].structured_outputs) == every | {"attention_mid_1"}
    for name in ("serving_default", "serve_bytes", "serve_uint8", "serve_float32"):
        assert set(signatures[name].structured_outputs) == every | branches
