"""Temperatures: in a model's outputs and file against NumPy, and their fit against a search over a grid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from clan_tf.choices import Combination
from clan_tf.errors import UserError
from clan_tf.models import (
    BCNN,
    CLAN,
    COMBINED,
    DFB,
    MACNN,
    MAMC,
    RACNN,
    TASN,
    BranchClassifier,
    Plain,
    load_model,
    save_model,
)
from clan_tf.models.calibration import Fit, calibrated, fit_temperature, fit_temperatures
from helpers.models import randomize_heads

GIVEN = {"mid_1": 0.6, "top": 1.7, "refined_top": 1.0, COMBINED: 2.5}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def photos(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (3, 32, 32, 3)).astype("float32")


def clan(**settings: Any) -> CLAN:
    keras.utils.set_random_seed(0)
    return randomize_heads(CLAN("tiny", 4, 32, **settings))


@pytest.mark.parametrize("rule", ["logits", "probabilities"])
def test_outputs_are_those_of_divided_logits(rule: Combination, photos: np.ndarray, tmp_path: Path) -> None:
    model = clan(combination=rule, temperatures=GIVEN)
    logits = {name: np.asarray(values, "float64") for name, values in model.logits_model()(photos).items()}
    expected = {name: softmax(values / GIVEN[name]) for name, values in logits.items()}
    if rule == "logits":
        mean = np.mean(list(logits.values()), axis=0)
    else:
        mean = np.log(np.mean([softmax(values) for values in logits.values()], axis=0))
    expected[COMBINED] = softmax(mean / GIVEN[COMBINED])
    save_model(model, tmp_path / "model.keras")
    for each in (model, load_model(tmp_path / "model.keras")):
        answers = each(photos)
        for name, values in expected.items():
            np.testing.assert_allclose(answers[name], values, atol=1e-6)
    own = {name: np.asarray(values) for name, values in model(photos).items()}
    np.testing.assert_allclose(model.combine(own, model.branches), expected[COMBINED], atol=1e-6)
    some = [logits[name] for name in ("mid_1", "top")]
    joined = np.mean(some, axis=0) if rule == "logits" else np.log(np.mean([softmax(each) for each in some], axis=0))
    np.testing.assert_allclose(model.combine(own, ("mid_1", "top")), softmax(joined / GIVEN[COMBINED]), atol=1e-6)
    np.testing.assert_allclose(model.combine(own, ("top",)), expected["top"], atol=1e-6)


def test_they_are_left_out_of_a_file_where_they_say_nothing() -> None:
    assert "temperatures" not in Plain("tiny", 3, 32, temperatures={"top": 1.0}).get_config()
    model = BCNN("tiny", 3, 32, temperatures={"top": 1.5})
    again = type(model).from_config(model.get_config())
    assert again.temperatures == model.temperatures == {"top": 1.5, COMBINED: 1.5}


def test_wrong_ones_are_refused(tmp_path: Path) -> None:
    for wrong in ({"bottom": 1.0}, {"top": 0}, {"top": 101}, {"top": "1"}, {"top": True}, {"top": float("nan")}):
        with pytest.raises(ValueError, match="`temperatures` must give outputs of the model, top, combined, numbers"):
            Plain("tiny", 3, 32, temperatures=wrong)
    model = Plain("tiny", 3, 32)
    for hostile in ({"top": 0.0}, {"top": [1]}, {"elsewhere": 2.0}):
        model.temperatures = hostile
        save_model(model, tmp_path / "model.keras")
        with pytest.raises(UserError, match="can't be loaded as a Keras model: .*temperatures"):
            load_model(tmp_path / "model.keras")


def sampled(rng: np.random.Generator, photos: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three classes, and labels that are as frequent as with another temperature."""
    logits = rng.normal(0, 2, (photos, 3))
    chances = softmax(logits / temperature).cumsum(axis=1)
    return logits, (rng.random((photos, 1)) > chances).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_fitted_one_is_the_most_likely(temperature: float, rng: np.random.Generator) -> None:
    logits, labels = sampled(rng, 5_000, temperature)
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(temperature, rel=0.05)
    grid = np.exp(np.linspace(np.log(0.1), np.log(10), 2001))
    losses = [-np.log(softmax(logits / each)[np.arange(len(labels)), labels]).mean() for each in grid]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=3e-3)


def test_without_a_most_likely_one_it_stays_1(rng: np.random.Generator) -> None:
    right = np.eye(3)[[0, 1, 2] * 20]
    assert fit_temperature(right, right.argmax(axis=1)) == 1, "a temperature near 0 would be best"
    assert fit_temperature(right, (right.argmax(axis=1) + 1) % 3) == 1, "an endless one would be"
    assert fit_temperature(np.zeros((60, 3)), rng.integers(0, 3, 60)) == 1


@pytest.mark.parametrize("rule", ["logits", "probabilities"])
def test_outputs_are_fitted_each_by_its_own_logits(rule: Combination, rng: np.random.Generator) -> None:
    labels = rng.integers(0, 4, 300)
    logits = {name: 2 * np.eye(4)[labels] + rng.normal(0, 3, (300, 4)) for name in ("mid_1", "top")}
    logits["refined_top"] = np.eye(4)[np.where(np.arange(300) < 4, (labels + 1) % 4, labels)]
    first, again = (
        fit_temperatures(clan(combination=rule, temperatures=given), logits, labels) for given in (None, GIVEN)
    )
    assert isinstance(first, Fit) and first == again, "whatever the temperatures were"
    if rule == "logits":
        joined = np.mean(list(logits.values()), axis=0)
    else:
        joined = np.log(np.mean([softmax(values) for values in logits.values()], axis=0))
    for name, values in {"mid_1": logits["mid_1"], "top": logits["top"], COMBINED: joined}.items():
        assert first.temperatures[name] == pytest.approx(fit_temperature(values, labels), rel=1e-3)
    assert first.temperatures["refined_top"] == 1, "four mistakes are too few"
    losses = [
        -np.log(softmax(joined / each)[np.arange(300), labels]).mean() for each in (1, first.temperatures[COMBINED])
    ]
    assert first.losses == pytest.approx(losses) and losses[1] < losses[0]


def test_too_few_photos_or_mistakes_are_named() -> None:
    def fit(right: int, wrong: int) -> Fit | str:
        logits = {"top": np.tile([[1.0, 0.0]], (right + wrong, 1))}
        return fit_temperatures(Plain("tiny", 2, 32), logits, np.array([0] * right + [1] * wrong))

    assert fit(40, 9) == "there are 49 validation photos, and it takes 50"
    assert fit(46, 4) == "4 of 50 validation photos are classified wrongly, and it takes 5"
    assert isinstance(fit(45, 5), Fit)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CLAN("tiny", 4, 32, combination="probabilities"),
        lambda: RACNN("tiny", 4, 64, crop_size=32, proposal_units=20),
        lambda: MACNN("tiny", 4, 64, parts=2),
        lambda: TASN("tiny", 4, 64, sampled_size=32),
        lambda: DFB("tiny", 4, 32, filters_per_class=2),
        lambda: MAMC("tiny", 4, 32, feature_dim=8),
    ],
)
def test_a_calibrated_model_keeps_every_weight_also_in_its_file(
    make: Callable[[], BranchClassifier], rng: np.random.Generator, tmp_path: Path
) -> None:
    """Also of branches that aren't combined, of which one alone has another temperature."""
    keras.utils.set_random_seed(0)
    model = make()
    for branch in model.branches:
        head = model.get_layer(f"logits_{branch}")
        head.set_weights([rng.normal(0, 0.3, weight.shape) for weight in head.weights])
    photos = rng.integers(0, 256, (2, model.image_size, model.image_size, 3)).astype("float32")
    given = {name: 1.5 for name in (model.branches[-1], COMBINED)}
    save_model(calibrated(model, given), tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert again.temperatures[COMBINED] == 1.5
    expected, answers = model.logits_model()(photos), again.logits_model()(photos)
    for name, values in expected.items():
        np.testing.assert_allclose(answers[name], values, atol=1e-5, err_msg=name)
    outputs = again(photos)
    for name, values in outputs.items():
        if name != COMBINED:
            np.testing.assert_allclose(
                values, softmax(np.asarray(expected[name]) / again.temperatures[name]), atol=1e-5
            )
    used = [name for name in again.branches if again.branch_weights[name] > 0]
    np.testing.assert_allclose(again.combine(outputs, used), outputs[COMBINED], atol=1e-5)


def test_a_single_combined_branch_has_one_temperature() -> None:
    def make(given: dict[str, float]) -> RACNN:
        return RACNN("tiny", 3, 64, crop_size=32, proposal_units=20, temperatures=given)

    for given in ({"fused": 1.5}, {COMBINED: 1.5}):
        assert make(given).temperatures == {"scale_1": 1, "scale_2": 1, "scale_3": 1, "fused": 1.5, COMBINED: 1.5}
    with pytest.raises(ValueError, match="must be the same for fused and combined, which is that branch alone"):
        make({"fused": 1.5, COMBINED: 2.0})


@keras.saving.register_keras_serializable(package="tests")
class Strict(CLAN):
    """Two arguments and no others."""

    def __init__(self, classes: int, name: str | None = None) -> None:
        super().__init__("tiny", classes, 32, name=name)


def test_a_class_that_takes_no_temperatures_stays_uncalibrated() -> None:
    logits = {name: np.zeros((60, 2)) for name in ("mid_1", "top", "refined_top")}
    assert fit_temperatures(Strict(2), logits, np.ones(60, int)) == "Strict doesn't take `temperatures`"
