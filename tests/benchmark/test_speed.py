"""The benchmarks of training and prediction say what they measured; no speed is asserted."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clan_tf.benchmark import memory
from clan_tf.benchmark.comparison import (
    gradient_difference,
    output_difference,
    photos_to_compare,
    random_batch,
    require_same,
)
from clan_tf.benchmark.exported import ExportedContenders
from clan_tf.benchmark.prepared import prepare
from clan_tf.benchmark.result import OWN
from clan_tf.benchmark.rounds import Spread, measure_rounds, ratios
from clan_tf.benchmark.train import _loss_and_gradients, compare_steps
from clan_tf.cli.main import app
from clan_tf.config import load_experiment, with_values
from clan_tf.errors import CheckFailed, UserError
from clan_tf.models.build import build_model
from clan_tf.progress import Progress
from helpers import TINY_DEMO
from helpers.models import CLASSES, Row, build, clan

SMALL = ["--image-size", "32", "--batch-size", "4", "--steps", "1", "--rounds", "2"]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clan_tf.benchmark.peer.find_spec", lambda _: None)
    monkeypatch.setattr("clan_tf.benchmark.floor.SIDE", 64)


def measured(verb: str, *words: str) -> Any:
    done = CliRunner().invoke(app, ["benchmark", verb, TINY_DEMO, *SMALL, *words])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout) if "--json" in words else done.stdout


def check(answer: dict[str, Any], contenders: list[str]) -> None:
    assert list(answer["contenders"]) == contenders
    for contender in answer["contenders"].values():
        seconds = contender["seconds"]
        assert 0 < seconds["fastest_round"] <= seconds["median"] <= seconds["slowest_round"]
        assert contender["photos_per_second"] == pytest.approx(answer["batch_size"] / seconds["median"])
    assert answer["contenders"]["clan-tf"]["clan_tf_times_as_fast"]["median"] == 1
    assert answer["peak_memory"]["bytes"] >= answer["peak_memory"]["bytes_before"] > 0
    assert 0 < answer["floor"]["share_reached"]["median"]
    assert sum(operator["share"] for operator in answer["operators"]) == pytest.approx(1)
    assert any("isn't installed" in note for note in answer["notes"])
    assert any("model.weights and model.init aren't loaded" in note for note in answer["notes"])


def test_a_training_step_is_measured_beside_the_operators_of_keras() -> None:
    answer = measured("train", "--json")
    check(answer, ["clan-tf", "operators of Keras", "plain backbone"])
    assert answer["cost_over_plain"]["seconds"]["median"] > 0 and answer["cost_over_plain"]["operations"] > 1
    assert (answer["batch_size"], answer["image_size"], answer["precision"]) == (4, 32, "float32")
    assert [each["of"] for each in answer["differences"]] == ["loss", "gradient"]
    kinds = {operator["kind"] for operator in answer["operators"]}
    assert {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"} <= kinds


@pytest.mark.parametrize("changes", ["model.architecture=ma_cnn", "training.freeze_batch_norm=true"])
def test_steps_that_train_only_some_weights_are_compared_in_these(changes: str) -> None:
    prepared = prepare(load_experiment(TINY_DEMO, [changes, "training.batch_size=4"]), Progress(), is_training=True)
    assert [each.of for each in compare_steps(prepared, None)] == ["loss", "gradient"]
    names = {variable.path for variable in prepared.model.trainable_variables}
    batch = random_batch(prepared.model.image_size, prepared.model.classes, 4)
    loss, gradients = _loss_and_gradients(prepared, prepared.model, OWN, *batch)
    assert np.isfinite(loss) and set(gradients) < names
    frozen = "part_attention" if "ma_cnn" in changes else "_bn"
    assert any(frozen in name for name in names) and not any(frozen in name for name in gradients)


@pytest.mark.parametrize(("size", "batch_size", "photos"), [(32, 2, 32), (64, 2, 8), (64, 16, 8), (224, 2, 2)])
def test_small_maps_are_compared_on_more_photos(size: int, batch_size: int, photos: int) -> None:
    """The last map of MobileNet has a 32nd of the photo's side."""
    values = {"data.image_size": size, "data.resize_size": None, "model.backbone": "mobilenet"}
    experiment = with_values(load_experiment(TINY_DEMO, ["model.architecture=plain"]), values)
    assert photos_to_compare(build_model(experiment, 3, load_weights=False), batch_size) == photos


def test_two_photos_with_a_last_map_of_one_value_give_no_false_alarm() -> None:
    changes = ["model.backbone=efficientnet_lite0", "model.architecture=plain", "training.batch_size=2"]
    experiment = load_experiment(TINY_DEMO, [*changes, "data.image_size=32", "data.resize_size=null"])
    require_same(compare_steps(prepare(experiment, Progress(), is_training=True), None))


def test_a_peak_that_the_system_cannot_forget_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent" / "file"):  # neither can be written to
        monkeypatch.setattr(memory, "_FORGET", place)
        memory.forget_peak()


def test_predictions_are_measured_for_one_photo_also_by_exported_files_and_for_the_batch() -> None:
    one, batch = measured("inference", "--exports", "--json", "model.loss_weights={mid_1: 0.5}")
    check(one, ["clan-tf", "plain backbone", "SavedModel", "ONNX", "TFLite", "TFLite, int8"])
    check(batch, ["clan-tf", "plain backbone"])
    assert one["cost_over_plain"]["operations"] == batch["cost_over_plain"]["operations"] > 1
    assert (one["batch_size"], batch["batch_size"]) == (1, 4)
    assert batch["floor"]["operations"] == 4 * one["floor"]["operations"]
    assert [each["contender"] for each in one["differences"]] == ["SavedModel", "ONNX", "TFLite"]
    assert all(each["largest"] < 1e-4 for each in one["differences"])
    rounds = one["contenders"]["TFLite"]["seconds"]["rounds"]
    assert len(rounds) == 2 and min(rounds) > 0


def test_formats_that_are_missing_or_wrong_are_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setattr(ExportedContenders, "_saved_model", lambda contenders: wrong)
    monkeypatch.setattr(ExportedContenders, "_tflite", lambda contenders, quantization="none": wrong)
    contenders = ExportedContenders(build(Row("clan", clan()))[0], tmp_path)
    assert list(contenders.calls) == ["TFLite, int8"]
    _, saved_model, onnx, tflite = contenders.notes
    assert "SavedModel isn't measured: its probabilities differ by" in saved_model
    assert "ONNX isn't measured" in onnx and "tf2onnx" in onnx
    assert "TFLite isn't measured: its probabilities differ by" in tflite


def wrong(photos: np.ndarray) -> np.ndarray:
    return np.full((len(photos), CLASSES), 0.5, "float32")


def test_exports_without_their_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clan_tf.benchmark.exported", None)
    done = CliRunner().invoke(app, ["benchmark", "inference", TINY_DEMO, *SMALL, "--exports"])
    assert isinstance(done.exception, UserError) and "pip install clan-tf[export,onnx]" in str(done.exception)


def test_the_table_says_how_much_of_the_floor_is_reached() -> None:
    text = measured("train", "training.precision=mixed_bfloat16", "model.architecture=plain")
    assert "plain backbone" not in text
    assert "operators of Keras" in text and "mixed_bfloat16" in text
    assert "Arithmetic floor" in text and "Peak memory" in text and "Conv2DBackpropFilter" in text


def test_contenders_take_turns_and_another_begins_each_round() -> None:
    order: list[str] = []
    contenders = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    seconds = measure_rounds(contenders, calls=2, rounds=2, progress=Progress())
    assert order == [*"aaa", *"bbb", *"bbb", *"aaa"]
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_ratios_are_taken_round_by_round() -> None:
    seconds = {"clan-tf": [1.0, 2.0, 4.0], "other": [2.0, 2.0, 12.0]}
    assert ratios(seconds, "clan-tf", "other") == Spread(2.0, 1.0, 3.0)


@pytest.mark.parametrize("change", [0.5, np.nan])
def test_a_difference_is_a_failed_check_that_names_the_largest(change: float) -> None:
    own = {"a/kernel": np.ones(4), "b/kernel": np.ones(4)}
    other = {**own, "b/kernel": np.array([1, 1, 1, 1 + change])}
    found = [output_difference("PyTorch", own, own), gradient_difference("PyTorch", own, other)]
    with pytest.raises(
        CheckFailed, match=r"PyTorch doesn't compute what clan-tf computes.* its gradient differs by .* b/kernel"
    ):
        require_same(found)
    require_same(found[:1])
