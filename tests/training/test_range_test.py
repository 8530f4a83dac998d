"""`training.learning_rate: auto`: the rule, what it leaves, and that the run is that of the number it chose."""

from pathlib import Path

import numpy as np
import pytest

from clan_tf.config import Experiment, load_experiment, with_values
from clan_tf.errors import CheckFailed, UserError
from clan_tf.files import read_rows
from clan_tf.models import load_model
from clan_tf.run import RunDirectory
from clan_tf.training import train
from clan_tf.training.plan import plan_training
from clan_tf.training.range_test import chosen_rate, has_diverged, rates_of, smooth


def test_the_average_is_that_of_the_last_losses_each_step_back_counting_less(rng: np.random.Generator) -> None:
    losses = rng.uniform(0, 5, 7)
    weights = 0.85 ** np.arange(7)[::-1]
    np.testing.assert_allclose(smooth(losses)[-1], np.average(losses, weights=weights))


def test_rates_grow_by_the_same_factor() -> None:
    rates = np.array(rates_of("sgd", 61))
    np.testing.assert_allclose(rates[1:] / rates[:-1], 10**0.1)
    assert (rates[0], rates[-1]) == (pytest.approx(1e-5), pytest.approx(10))


def curve(rates: np.ndarray) -> np.ndarray:
    """A loss that falls from 3 to 1 around the rate 0.01, and rises from 1 on."""
    return 2 - np.tanh(2 * np.log10(rates / 0.01)) + np.maximum(0, np.log10(rates / 0.5)) ** 2 * 20


def test_the_chosen_rate_is_where_the_loss_falls_steepest(rng: np.random.Generator) -> None:
    """A little above, because the average lags behind."""
    rates = rates_of("sgd", 100)
    losses = list(curve(np.array(rates)))
    assert 0.01 <= chosen_rate(rates, losses) < 0.02
    noisy = list(losses + rng.normal(0, 0.02, 100))
    noisy[20] -= 0.2
    assert 0.01 <= chosen_rate(rates, noisy) < 0.02, "a single lucky batch doesn't decide"


def test_where_the_loss_only_rises_a_tenth_of_the_rate_from_which_it_does_is_chosen(rng: np.random.Generator) -> None:
    rates = np.array(rates_of("sgd", 100))
    losses = 2 + rng.normal(0, 0.02, 100) + np.maximum(0, np.log10(rates / 0.1)) ** 2
    assert 0.01 < chosen_rate(list(rates), list(losses)) < 0.05


def test_the_rate_is_no_more_than_a_tenth_of_the_one_from_which_the_loss_rises() -> None:
    """A loss that falls steepest at 0.3, and rises soon after."""
    rates = np.array(rates_of("sgd", 100))
    losses = 3 - np.maximum(0, np.log10(rates / 0.1)) + np.maximum(0, np.log10(rates / 0.5)) * 20
    assert 0.05 < chosen_rate(list(rates), list(losses)) < 0.1


@pytest.mark.parametrize("losses", [[], [3.0], [3.0] * 100, [3.0, 9.0], [*np.linspace(3, 9, 50)]])
def test_where_the_loss_shows_no_rate_a_number_is_asked_for(losses: list[float]) -> None:
    with pytest.raises(CheckFailed, match="auto found no rate, because .* Give a number: --set training"):
        chosen_rate(rates_of("sgd", 100), losses)


def test_a_test_ends_once_the_loss_has_risen_by_half() -> None:
    assert not has_diverged([3.0, 2.0, 2.9])
    assert has_diverged([3.0, 2.0, 3.1])


@pytest.fixture
def auto(experiment: Experiment) -> Experiment:
    """Everything that has a state or is a part of one: dropout, frozen batch norm, accumulation, clipping."""
    values = {
        "model.architecture": "clan",
        "model.dropout": 0.3,
        "training.learning_rate": "auto",
        "training.epochs": 2,
        "training.accumulation": 3,
        "training.clipnorm": 1.0,
        "training.freeze_epochs": 1,
        "training.freeze_batch_norm": True,
    }
    return with_values(experiment, values)


def weights_of(run: RunDirectory) -> list[np.ndarray]:
    return load_model(run.last).get_weights()


@pytest.mark.soak
def test_a_run_that_chose_its_rate_is_bit_for_bit_that_with_the_number(auto: Experiment, tmp_path: Path) -> None:
    chosen, given = (RunDirectory(tmp_path / name) for name in ("chosen", "given"))
    train(auto, str(chosen.path))
    rate = chosen.experiment().training.learning_rate
    assert isinstance(rate, float) and 1e-5 < rate < 10
    rows = read_rows(chosen.range_test("csv"), ("learning_rate", "loss", "smoothed_loss"), "")
    assert 10 < len(rows) <= 40, "fewer steps for a tiny set"
    assert chosen.range_test("png").exists()
    train(with_values(auto, {"training.learning_rate": rate}), str(given.path))
    assert not given.range_test("csv").exists()
    for a, b in zip(weights_of(chosen), weights_of(given), strict=True):
        np.testing.assert_array_equal(a, b)
    assert chosen.metrics.read_bytes() == given.metrics.read_bytes()
    before = chosen.range_test("csv").stat().st_mtime_ns
    assert train(auto, str(chosen.path), resume=True).outcome == chosen.outcome()
    assert chosen.range_test("csv").stat().st_mtime_ns == before


def test_a_run_without_a_rate_leaves_nothing(auto: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clan_tf.training.range_test.RANGE", {"sgd": (1e-12, 1e-11)})
    with pytest.raises(CheckFailed, match="auto found no rate"):
        train(auto, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_that_the_rate_is_chosen_later(auto: Experiment) -> None:
    plan = plan_training(auto, None)
    assert "range test of at most 100 steps" in plan.rows["learning rate"]
    assert plan.schedule == [] and "runs/demo-NNN/learning_rate.png" in plan.files


@pytest.mark.parametrize("value", ["automatic", "0", "-1", ".inf", "[1]"])
def test_what_is_neither_a_number_nor_auto_is_refused_as_a_number_is(value: str) -> None:
    with pytest.raises(UserError, match=r"  training\.learning_rate: .*; received"):
        load_experiment("demo", [f"training.learning_rate={value}"])
