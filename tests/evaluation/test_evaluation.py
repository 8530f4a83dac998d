"""The figures of an evaluation, against independent computations."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.errors import UserError
from clan_tf.evaluation import Evaluation, evaluate
from clan_tf.evaluation.metrics import Estimate, Share
from clan_tf.export.gate import Limits, compare, failed_limits
from clan_tf.inference import ProbabilityFunction, predict
from clan_tf.models import CLAN, load_model
from clan_tf.run import RunDirectory
from clan_tf.runtime import are_in_top, ranked_labels
from clan_tf.training.step import _count_correct
from helpers import ROOT
from helpers.models import randomize_heads
from helpers.photos import write_photo


@pytest.fixture(scope="module")
def run(trained_run: RunDirectory) -> RunDirectory:
    return trained_run


@pytest.fixture(scope="module")
def result(run: RunDirectory) -> Evaluation:
    return evaluate(str(run.path), batch_size=4)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_of_equal_probabilities_the_first_classes_count_everywhere(k: int, rng: np.random.Generator) -> None:
    """As of files whose answers are steps of 1/256; against a loop over sorted pairs."""
    labels = rng.integers(0, 7, 300)
    probabilities = (rng.integers(0, 4, (300, 7)) / 256).astype("float32")
    probabilities[0] = 1 / 7
    expected = []
    for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True):
        ordered = sorted(range(7), key=lambda index: (-row[index], index))
        expected.append(label in ordered[:k])
        assert ranked_labels(np.array(row)).tolist() == ordered
        assert np.argmax(row) == ordered[0]
    np.testing.assert_array_equal(are_in_top(labels, probabilities, k), expected)
    if k == 1:
        counted = _count_correct(tf.constant(labels, tf.int32), tf.constant(probabilities))
        assert float(counted) == sum(expected)
        figures = compare({"probabilities": probabilities}, {"probabilities": probabilities}, labels)
        assert figures["accuracy"] == figures["keras_accuracy"] == np.mean(expected)
        assert figures["agreement"] == 1
        (predicted,) = np.nonzero(probabilities.argmax(axis=1) == labels)
        assert len(predicted) == sum(expected)


@pytest.mark.parametrize(
    ("right", "most", "beats"),
    # The lower end of Wilson's interval of 12 in 40 is 18.1 %, of 20 in 40 is 35.2 %.
    [(12, 7, True), (12, 8, False), (20, 14, True), (20, 15, False), (40, 40, False)],
)
def test_a_model_beats_guessing_only_beyond_chance(result: Evaluation, right: int, most: int, beats: bool) -> None:
    rows = [{"class": "rare", "photos": 1}] * (40 - most) + [{"class": "usual", "photos": most}]
    share = Share.of(right, 40)
    averages = {"top1": Estimate(share.value, share.low, share.high)}
    other = replace(result, photos=40, per_class=rows, averages=averages)
    assert other.beats_guessing is beats
    assert other.most_frequent == ("usual", most / 40)


def test_nan_counts_against_the_label() -> None:
    nan = float("nan")
    probabilities = np.array([[nan, 0.5, 0.5], [nan, nan, nan], [0.2, nan, 0.8], [0.1, 0.2, 0.7]], dtype="float32")
    labels = np.array([0, 0, 2, 2])
    for k in (1, 5):
        assert are_in_top(labels, probabilities, k).tolist() == [False, False, False, True]
    assert float(_count_correct(tf.constant(labels, tf.int32), tf.constant(probabilities))) == 1
    finite = np.full((4, 3), 1 / 3)
    figures = compare({"probabilities": finite}, {"probabilities": probabilities}, labels)
    assert figures["accuracy"] == 0.25 and figures["agreement"] == 0
    assert failed_limits(figures, Limits(difference=1e-4))


def test_the_predictions_file_gives_the_same_accuracies(result: Evaluation) -> None:
    with (result.folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.photos == 15
    for branch, scores in {**result.branches, "combined": result.combined}.items():
        assert np.mean([row[branch] == row["true"] for row in rows]) == pytest.approx(scores["top1"])
    for row in result.per_class:
        own = [line["combined"] == line["true"] for line in rows if line["true"] == row["class"]]
        assert (len(own), np.mean(own)) == (row["photos"], pytest.approx(row["accuracy"]))
    with (result.folder / "confusion.csv").open(encoding="utf-8") as file:
        counts = np.array([list(map(int, list(row.values())[1:])) for row in csv.DictReader(file)])
    np.testing.assert_array_equal(counts, result.confusion)
    assert counts.sum() == 15


def test_json_has_the_promised_keys(result: Evaluation) -> None:
    answer = json.loads(json.dumps(result.to_json()))
    assert set(answer["branches"]) == {"mid_1", "top", "refined_top", "combined"}
    assert all(set(scores) == {"top1"} for scores in answer["branches"].values())
    assert answer["photos"] == 15


@pytest.mark.parametrize("rule", ["probabilities", "logits"])
def test_the_combined_output_is_the_named_mean_of_the_branches(rule: str, rng: np.random.Generator) -> None:
    model = randomize_heads(CLAN("tiny", 4, image_size=32, combination=rule))
    photos = rng.uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    logits = [np.array(value, dtype="float64") for value in model.logits_model()(photos).values()]

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)

    expected = softmax(np.mean(logits, axis=0)) if rule == "logits" else np.mean([softmax(v) for v in logits], axis=0)
    np.testing.assert_allclose(np.array(model(photos)["combined"]), expected, atol=1e-6)


def test_combining_a_subset_uses_only_that_subset(run: RunDirectory, result: Evaluation) -> None:
    subset = evaluate(str(run.path), branches=["top", "top"], batch_size=15)
    assert subset.combined_branches == ("top",)
    assert subset.combined == result.branches["top"] == subset.branches["top"]


def test_probabilities_do_not_depend_on_batches_or_replicas() -> None:
    # TensorFlow numbers the sums over devices by process, and confuses those of several models.
    code = "import test_evaluation; test_evaluation.require_same_probabilities()"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, check=True, timeout=120)


def require_same_probabilities() -> None:
    """Compares two devices, each with half of a batch, with one."""
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    rng = np.random.default_rng(0)
    photos = rng.uniform(0, 255, (8, 32, 32, 3)).astype("float32")

    def probabilities(strategy: tf.distribute.Strategy | None, batch_size: int) -> np.ndarray:
        tf.keras.utils.set_random_seed(0)
        with (strategy or tf.distribute.get_strategy()).scope():
            model = randomize_heads(CLAN("tiny", 3, image_size=32))
        batches = tf.data.Dataset.from_tensor_slices((photos, range(8), range(8))).batch(batch_size)
        distributed = strategy.experimental_distribute_dataset(batches) if strategy else batches
        return ProbabilityFunction(model, strategy)(distributed, 5)["combined"]

    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    alone = probabilities(None, 8)
    assert alone.shape == (5, 3)
    np.testing.assert_allclose(probabilities(mirrored, 4), alone, atol=1e-6)


def test_predict_answers_as_evaluate_does(run: RunDirectory, result: Evaluation, tmp_path: Path) -> None:
    with (result.folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (tmp_path / "broken.jpg").write_text("x", encoding="utf-8")
    answers = predict(str(run.best), [*(row["photo"] for row in rows), str(tmp_path)], top=2, batch_size=4)
    assert answers[-1] == {"path": str(tmp_path / "broken.jpg"), "error": "not an image"}
    for row, answer in zip(rows, answers[:-1], strict=True):
        assert answer["path"] == row["photo"]
        best = answer["predictions"][0]
        assert best["label"] == row["combined"]
        assert best["probability"] == pytest.approx(float(row["combined_probability"]), abs=1e-5)
        assert len(answer["predictions"]) == 2


def test_data_with_other_classes_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    for name in ("blue, small", "grün", "yellow bird"):
        for index in range(4):
            write_photo(tmp_path / name / f"{index}.png", (1, 2, 3))
    with pytest.raises(UserError, match="has no class 'yellow bird', .*data.unknown_classes; .*--unknown FOLDER"):
        evaluate(str(run.path), overrides=[f"data.root={tmp_path}"])
    (tmp_path / "yellow bird").rename(tmp_path / "Red_Bird")
    with pytest.raises(UserError, match="Is 'Red_Bird' its 'red bird'. Then rename it"):
        evaluate(str(run.path), overrides=[f"data.root={tmp_path}"])


def test_wrong_names_are_refused_with_the_right_ones(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--branches: no branch 'tpo'. Did you mean top"):
        evaluate(str(run.path), branches=["tpo"])
    with pytest.raises(UserError, match="--split"):
        evaluate(str(run.path), split="tset")
    with pytest.raises(UserError, match="not a run directory"):
        evaluate(str(tmp_path))
    with pytest.raises(UserError, match="no such"):
        evaluate(str(tmp_path / "none"))
    (tmp_path / "bad.keras").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="is damaged or truncated"):
        predict(str(tmp_path / "bad.keras"), [str(tmp_path / "bad.keras")])


def test_a_saved_model_carries_its_names_and_sizes(run: RunDirectory) -> None:
    model = load_model(run.best)
    assert (model.class_names, model.image_size, model.resize_size) == (["blue, small", "grün", "red bird"], 32, 37)
