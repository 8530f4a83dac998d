"""Batches that fit into the memory, with figures of memory that tests set."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import Experiment, load_experiment, with_values
from clan_tf.data import read_source
from clan_tf.data.check.readiness import fitting_batch, training_problems
from clan_tf.errors import UserError
from clan_tf.models import BranchClassifier, complexity, load_model
from clan_tf.models.build import build_model
from clan_tf.run import RunDirectory
from clan_tf.training import memory, train
from clan_tf.training.plan import plan_training

Fit = Callable[..., tuple[Experiment, list[str]]]
Remember = Callable[[float], None]


@pytest.fixture
def experiment(experiment: Experiment) -> Experiment:
    """With heads that normalise over several photos."""
    return with_values(experiment, {"model.architecture": "clan"})


@pytest.fixture
def model(experiment: Experiment) -> BranchClassifier:
    return build_model(experiment, 3)


@pytest.fixture
def memory_for(model: BranchClassifier, monkeypatch: pytest.MonkeyPatch) -> Remember:
    """Makes so much memory free that just a step on so many photos fits."""

    def set_free(photos: float) -> None:
        weights, maps = 12 * model.count_params(), complexity(model).activation_bytes
        monkeypatch.setattr(memory, "available_memory", lambda: int((weights + photos * maps) / memory.SHARE) + 1)

    return set_free


@pytest.fixture
def fit(experiment: Experiment, model: BranchClassifier) -> Fit:
    def fitted(photos: int = 1000, **values: Any) -> tuple[Experiment, list[str]]:
        notes: list[str] = []
        recipe = {key if "." in key else f"training.{key}": value for key, value in values.items()}
        given = with_values(experiment, recipe)
        return memory.fit_batch(given, model, tf.distribute.get_strategy(), photos, notes.append), notes

    return fitted


@pytest.mark.parametrize(
    ("fitting", "photos", "parts", "expected"),
    [
        (16, 1000, None, 16),
        (31.9, 1000, None, 16),
        (1e6, 1000, None, 64),
        (1e6, 36, None, 32),
        (8, 1000, 3, 24),
        (0, 9, None, 2),
    ],
)
def test_auto_is_the_largest_power_of_two_that_fits(
    fitting: float, photos: int, parts: int | None, expected: int, fit: Fit, memory_for: Remember
) -> None:
    memory_for(fitting)
    fitted, (note,) = fit(photos, batch_size="auto", accumulation=parts)
    assert (fitted.training.batch_size, fitted.training.accumulation) == (expected, parts or 1)
    assert note.startswith(
        f"training.batch_size is {expected}: a step on {expected // (parts or 1)} photos takes about"
    )


@pytest.mark.parametrize(
    ("batch_size", "fitting", "parts"), [(36, 36, 1), (36, 35.9, 2), (36, 9, 4), (36, 1, 4), (64, 3, 32), (33, 1, 1)]
)
def test_a_batch_that_does_not_fit_is_computed_in_parts(
    batch_size: int, fitting: float, parts: int, fit: Fit, memory_for: Remember
) -> None:
    """As long as it can be halved, and two photos are left for batch norm."""
    memory_for(fitting)
    fitted, notes = fit(batch_size=batch_size)
    assert (fitted.training.batch_size, fitted.training.accumulation) == (batch_size, parts)
    assert fitted.training.learning_rate == 0.05
    assert len(notes) == (parts > 1)
    if notes:
        assert notes[0].startswith(f"training.accumulation is {parts}: a step on {batch_size} photos takes about ")
        assert "MB are free" in notes[0] and "Set training.accumulation to decide otherwise" in notes[0]


def test_few_photos_at_a_time_are_noted_for_heads_that_normalise_and_one_is_refused(fit: Fit) -> None:
    def notes_of(**values: Any) -> list[str]:
        notes: list[str] = []
        memory.check_photos_at_a_time(fit(**values)[0], 1, notes.append)
        return notes

    assert notes_of(batch_size=24, accumulation=3) == []
    (note,) = notes_of(batch_size=24, accumulation=4)
    assert "over the 6 photos that are computed at a time" in note
    with pytest.raises(UserError, match=r"which is one\. .*model\.head_batch_norm=false"):
        notes_of(photos=36, batch_size="auto", accumulation=20)


@pytest.mark.parametrize(
    ("values", "replicas", "message"),
    [
        ({"batch_size": 6}, 1, ""),
        ({"batch_size": 5}, 1, "5 divides a pair of photos .*Use a multiple of 2"),
        ({"batch_size": 6}, 2, "6 on 2 devices divides a pair .*Use a multiple of 4"),
        ({"batch_size": 6, "accumulation": 2}, 1, "6 in 2 parts divides a pair .*Use a multiple of 4"),
    ],
)
def test_no_pair_of_photos_is_divided(values: dict[str, int], replicas: int, message: str) -> None:
    pairs = {"training": values, "model": {"architecture": "mamc"}}
    with pytest.raises(UserError, match=message) if message else nullcontext():
        memory.check_photos_at_a_time(Experiment.model_validate(pairs), replicas, lambda note: None)
    shuffled = {**pairs, "data": {"sampling": "shuffle"}}
    memory.check_photos_at_a_time(Experiment.model_validate(shuffled), replicas, lambda note: None)


@pytest.mark.parametrize(("batch_size", "parts"), [(36, 2), (24, 4), (40, 4)])
def test_parts_hold_whole_pairs(batch_size: int, parts: int, fit: Fit, memory_for: Remember) -> None:
    memory_for(1)
    fitted, _ = fit(batch_size=batch_size, **{"data.sampling": "pairs"})
    assert fitted.training.accumulation == parts


def test_a_number_of_parts_that_is_given_stays(fit: Fit, memory_for: Remember) -> None:
    memory_for(1)
    fitted, notes = fit(batch_size=36, accumulation=1)
    assert (fitted.training.accumulation, notes) == (1, [])


def test_half_precision_averages_and_adamw_count(fit: Fit, memory_for: Remember) -> None:
    memory_for(16)
    assert fit(batch_size="auto", precision="mixed_bfloat16")[0].training.batch_size == 32
    assert fit(batch_size="auto", ema=0.9)[0].training.batch_size == 8
    assert fit(batch_size="auto", optimizer="adamw")[0].training.batch_size == 8


def test_too_few_photos_for_the_parts_are_refused(fit: Fit) -> None:
    with pytest.raises(UserError, match=r"training\.batch_size: auto needs at least 40 train photos .* are 36\. Use"):
        fit(36, batch_size="auto", accumulation=40)


def test_the_smallest_gpu_counts_without_what_tensorflow_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '81559\\n40960\\n'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: {"current": 2**30})
    assert memory._gpu_memory(2) == 39 * 2**30
    tool.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    assert memory._gpu_memory(2) is None


def test_where_the_memory_is_not_known_nothing_is_divided(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda strategy: None)
    assert fit(batch_size=64) == (fit(batch_size=64, accumulation=1)[0], [])
    fitted, (note,) = fit(batch_size="auto")
    assert fitted.training.batch_size == 64 and "an unknown amount is free" in note


def test_a_run_keeps_the_numbers_it_chose(experiment: Experiment, memory_for: Remember, tmp_path: Path) -> None:
    """Also resumed with more memory."""
    chosen, given = RunDirectory(tmp_path / "chosen"), RunDirectory(tmp_path / "given")
    auto = with_values(experiment, {"training.batch_size": "auto", "training.epochs": 1})
    memory_for(8)
    assert "training.batch_size is 8" in plan_training(auto, None).rows["batch"]
    train(auto, str(chosen.path))
    assert chosen.experiment().training.batch_size == 8
    memory_for(1000)
    assert train(auto, str(chosen.path), resume=True).outcome == chosen.outcome()
    train(with_values(auto, {"training.batch_size": 8}), str(given.path))
    for a, b in zip(*(load_model(run.last).get_weights() for run in (chosen, given)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_plan_gives_the_estimate_by_which_the_batch_was_chosen(experiment: Experiment, memory_for: Remember) -> None:
    memory_for(1e6)
    values = {"data.image_size": 256, "training.batch_size": "auto", "training.precision": "mixed_bfloat16"}
    rows = plan_training(with_values(experiment, values), None).rows
    (said,) = re.findall(r"photos takes (about [\d.]+ [MG]B)", rows["batch"])
    assert rows["memory"].startswith(said)


def test_data_can_be_checked_before_the_batch_is_chosen(experiment: Experiment) -> None:
    auto = with_values(experiment, {"training.batch_size": "auto", "training.accumulation": 5})
    source = read_source(auto.data)
    assert training_problems(auto, source) == [] and fitting_batch(auto, source) == {}


@pytest.mark.parametrize("value", ["automatic", "0", "1.5", "99999999"])
def test_what_is_neither_a_number_nor_auto_is_refused_as_a_number_is(value: str) -> None:
    with pytest.raises(UserError, match=r"  training\.batch_size: .*; received"):
        load_experiment("demo", [f"training.batch_size={value}"])
