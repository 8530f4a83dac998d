"""Ensembles are exported like any other model: what their members fold is folded, and no member is left over."""

from pathlib import Path

import keras
import numpy as np
import pytest

from clan_tf.evaluation import evaluate
from clan_tf.export import ExportOptions, export
from clan_tf.export.pruning import inference_model
from clan_tf.export.selective import require_layers
from clan_tf.inference import predict
from clan_tf.models import Ensemble, load_model, save_model
from clan_tf.run import RunDirectory
from clan_tf.runtime import ExportedModel
from helpers.exports import PHOTOS, answering_model, centres, keras_answers, tflite_file


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """Of members that answer differently, one of them calibrated."""
    members = [answering_model(), answering_model(combination="probabilities", temperatures={"combined": 0.5})]
    rng = np.random.default_rng(7)
    for weight in members[1].trainable_variables:
        weight.assign(np.asarray(weight) + rng.normal(0, 0.02, weight.shape))
    return Ensemble(members)


def test_a_tflite_file_answers_the_mean_of_what_the_members_answer(ensemble: Ensemble, tmp_path: Path) -> None:
    own = [keras_answers(member.model) for member in ensemble.members]
    assert np.abs(own[0] - own[1]).max() > 0.01
    with ExportedModel(tflite_file(tmp_path / "birds.tflite", ensemble)) as exported:
        np.testing.assert_allclose(exported(PHOTOS)["probabilities"], np.mean(own, axis=0), atol=1e-4)


def test_members_are_folded_and_those_that_are_not_asked_for_are_left_out(ensemble: Ensemble) -> None:
    photos = centres(PHOTOS)[:4].astype("float32")
    answers = ensemble(photos)
    folded = inference_model(ensemble, ("member_2",))
    np.testing.assert_allclose(folded(photos)["probabilities"], answers["member_2"], atol=1e-5)
    names = {layer.name for layer in folded.layers}
    assert "network_2" in names and "network_1" not in names
    inner = list(folded._flatten_layers())
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in inner)
    unfolded = inference_model(ensemble, ("member_2",), folded=False)
    assert len(inner) < len(list(unfolded._flatten_layers()))
    require_layers(["logits_top", "stage1_conv1"], folded)  # of members, and of their backbones


def test_a_file_without_a_run_passes_the_gate_on_the_photos_of_a_config(run: RunDirectory, tmp_path: Path) -> None:
    first, second = load_model(run.best), load_model(run.best)
    head = second.get_layer("logits_top")
    head.kernel.assign(np.random.default_rng(1).normal(0, 0.5, head.kernel.shape))
    path = tmp_path / "ensemble.keras"
    save_model(Ensemble([first, second]), path)
    config = str(run.config)
    made = export(str(path), ExportOptions("onnx"), config=config)
    assert not made.report.failures and made.report.photos == 15
    assert made.contract.branches == ("member_1", "member_2")
    assert made.contract.temperatures == ()  # those of the members are in their logits
    by_file, by_keras = (evaluate(str(each), config=config) for each in (made.path, path))
    assert by_file.combined == by_keras.combined and by_file.notes == by_keras.notes == ()
    photo = next(Path(run.experiment().data.root).rglob("test/*/*.jpg"))
    ours, theirs = (predict(str(each), [str(photo)])[0]["predictions"][0] for each in (made.path, path))
    assert ours["label"] == theirs["label"] and ours["probability"] == pytest.approx(theirs["probability"], abs=1e-3)
