"""ONNX files answer as the Keras model does."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.pruning import inference_model
from clan_tf.layers.relation import RELATIONS
from clan_tf.models import BranchClassifier
from clan_tf.runtime import ExportedModel, read_contract
from helpers.exports import PHOTOS, contract_of, keras_answers


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
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (answers,) = session.run(["probabilities"], {"photos": PHOTOS[:7].astype(io)})
        np.testing.assert_allclose(answers, keras_answers(model)[:7], atol=1e-5)
