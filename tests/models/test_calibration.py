"""Temperatures: in a model's outputs and file against NumPy, and their fit against a search over a grid."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from clan_tf.choices import Combination
from clan_tf.errors import UserError
from clan_tf.models import BCNN, CLAN, COMBINED, RACNN, BranchClassifier, Plain, load_model, save_model
from clan_tf.models.calibration import fit_temperature, fit_temperatures, too_few
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
    some = np.mean([logits[name] for name in ("mid_1", "top")], axis=0)
    if rule == "logits":
        np.testing.assert_allclose(model.combine(own, ("mid_1", "top")), softmax(some / GIVEN[COMBINED]), atol=1e-6)
    np.testing.assert_allclose(model.combine(own, ("top",)), expected["top"], atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda **own: Plain("tiny", 3, 32, **own),
        lambda **own: BCNN("tiny", 3, 32, **own),
        lambda **own: RACNN("tiny", 3, 64, crop_size=32, proposal_units=20, **own),
    ],
)
def test_every_model_takes_them_by_name(make: Any) -> None:
    model = make(temperatures={COMBINED: 1.5})
    again = type(model).from_config(model.get_config())
    assert again.temperatures == model.temperatures == {**dict.fromkeys(model.branches, 1.0), COMBINED: 1.5}
    assert "temperatures" not in make().get_config(), "older versions could read it"


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
    """Probabilities of three classes, and labels that are as frequent as with another temperature."""
    logits = rng.normal(0, 2, (photos, 3))
    chances = softmax(logits / temperature).cumsum(axis=1)
    return softmax(logits).astype("float32"), (rng.random((photos, 1)) > chances).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_fitted_one_is_the_most_likely(temperature: float, rng: np.random.Generator) -> None:
    probabilities, labels = sampled(rng, 20_000, temperature)
    fitted = fit_temperature(probabilities, labels)
    assert fitted == pytest.approx(temperature, rel=0.05)
    grid = np.exp(np.linspace(np.log(0.1), np.log(10), 2001))
    chances = [softmax(np.log(probabilities.astype("float64")) / each) for each in grid]
    losses = [-np.log(each[np.arange(len(labels)), labels]).mean() for each in chances]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=3e-3)


def test_without_mistakes_it_stays_1() -> None:
    assert fit_temperature(np.array([[0.9, 0.1], [0.2, 0.8]], "float32"), np.array([0, 1])) == 1


def test_a_calibrated_model_gets_the_same_again(rng: np.random.Generator) -> None:
    probabilities, labels = sampled(rng, 500, 1.6)

    def fitted(model: BranchClassifier) -> tuple[dict[str, float], tuple[float, float]]:
        own = model.temperatures
        answers = {name: softmax(np.log(probabilities.astype("float64")) / own[name]).astype("f4") for name in own}
        fit = fit_temperatures(model, answers, labels)
        return fit.temperatures, fit.losses

    first, losses = fitted(Plain("tiny", 3, 32))
    again, same_losses = fitted(Plain("tiny", 3, 32, temperatures=first))
    assert again == {name: pytest.approx(value, rel=1e-3) for name, value in first.items()}
    assert same_losses == pytest.approx(losses, rel=1e-4) and losses[1] < losses[0]


def test_too_few_photos_or_mistakes_are_named() -> None:
    def answers(right: int, wrong: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return {COMBINED: np.tile([[0.9, 0.1]], (right + wrong, 1))}, np.array([0] * right + [1] * wrong)

    assert too_few(*answers(40, 9)) == "there are 49 validation photos, and it takes 50"
    assert too_few(*answers(46, 4)) == "4 of 50 validation photos are classified wrongly, and it takes 5"
    assert too_few(*answers(45, 5)) is None
