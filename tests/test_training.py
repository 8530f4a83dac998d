"""The recipe, the loop, several devices, and how runs end."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import randomize_heads

from clan_tf import training, training_step
from clan_tf.config import Experiment, ScheduleConfig, load_experiment
from clan_tf.errors import CheckFailed, UserError
from clan_tf.models import CLAN
from clan_tf.optimizers import CoupledSGD
from clan_tf.recipe import learning_rate_schedule
from clan_tf.run import RunDirectory, load_model


@pytest.fixture
def experiment(colour_folders: Path) -> Experiment:
    return load_experiment(
        "demo",
        [
            "data={source: folders, image_size: 32, validation_fraction: 0.25}",
            f"data.root={colour_folders}",
            "training.batch_size=9",
            "training.epochs=3",
        ],
    )


def test_coupled_weight_decay_goes_through_the_momentum(rng: np.random.Generator) -> None:
    """Against PyTorch's rule, written out: v = m v + (g + d w); w = w - l v."""
    weight, velocity = rng.normal(size=5), np.zeros(5)
    variable = keras.Variable(weight, dtype="float32")
    optimizer = CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=0.01)
    for _ in range(5):
        gradient = rng.normal(size=5)
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        velocity = 0.9 * velocity + gradient + 0.01 * weight
        weight = weight - 0.1 * velocity
    np.testing.assert_allclose(np.array(variable), weight, atol=1e-6)


def test_the_optimizer_reads_back_from_its_config() -> None:
    optimizer = CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=0.01)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("step", [1, 1, 0.9, 0.9, 0.81]),
        ("exponential", [1, 0.9**0.5, 0.9, 0.9**1.5, 0.81]),
        ("constant", [1, 1, 1, 1, 1]),
    ],
)
def test_schedules_give_the_rate_at_the_start_of_each_epoch(kind: str, expected: list[float]) -> None:
    schedule = learning_rate_schedule(ScheduleConfig(kind=kind, factor=0.9, every=2), 1.0, steps=10)
    rates = [float(schedule(10 * epoch)) if callable(schedule) else schedule for epoch in range(5)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_is_the_weighted_sum_of_the_branches(mixed: bool, rng: np.random.Generator) -> None:
    weights = {"mid_1": 0.5, "top": 2.0, "refined_top": 0.25}
    model = randomize_heads(CLAN("tiny", 3, image_size=32, loss_weights=weights))
    photos, labels = rng.uniform(0, 255, (6, 32, 32, 3)).astype("float32"), rng.integers(0, 3, 6).astype("int32")
    shares = rng.dirichlet(np.ones(3), 6).astype("float32") if mixed else np.eye(3)[labels]
    logits = model.logits_model()(photos, training=True)
    expected = 0.0
    for branch, weight in weights.items():
        values = np.array(logits[branch], dtype="float64")
        log_probabilities = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
        expected -= weight * (shares * log_probabilities).sum(axis=1).mean()
    optimizer = CoupledSGD(0.0)
    step = training_step.make_train_step(model, optimizer, tf.distribute.get_strategy(), 6)
    values = step(tf.constant(photos), tf.constant(shares if mixed else labels)).numpy()
    assert values[0] == pytest.approx(expected, abs=1e-4)


def test_two_replicas_train_like_one(rng: np.random.Generator) -> None:
    """Batch norm is frozen: its statistics are each replica's own."""
    photos = rng.uniform(0, 255, (16, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 3, 16).astype("int32")

    def weights_after_steps(strategy: tf.distribute.Strategy) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = randomize_heads(CLAN("tiny", 3, image_size=32, loss_weights={"mid_1": 0.5}))
            for layer in model.backbone.layers:
                layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
            for refinement in model.refinements.values():
                refinement.normalization.trainable = False
            optimizer = CoupledSGD(0.05, 0.9, 1e-3)
            optimizer.build(model.trainable_variables)
        step = training_step.make_train_step(model, optimizer, strategy, 8)
        batches = strategy.experimental_distribute_dataset(
            tf.data.Dataset.from_tensor_slices((photos, labels)).batch(8).repeat(3)
        )
        for batch in batches:
            step(*batch)
        return [np.array(variable) for variable in model.variables]

    one = weights_after_steps(tf.distribute.get_strategy())
    # TensorFlow's collectives allow one group size in a process, and other tests take two as well.
    two = weights_after_steps(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.fixture(scope="module")
def finished(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> training.TrainingResult:
    return training.train(
        load_experiment(
            "demo",
            [
                "data={source: folders, image_size: 32, validation_fraction: 0.25}",
                f"data.root={colour_folders}",
                "training.batch_size=9",
                "training.epochs=4",
            ],
        ),
        runs_root=str(tmp_path_factory.mktemp("runs")),
    )


def test_a_run_directory_holds_everything_about_the_run(finished: training.TrainingResult) -> None:
    path = finished.run.path
    assert path.name == "demo-001"
    for name in ("best.keras", "last.keras", "metrics.csv", "curves.png", "samples.png", "environment.json"):
        assert (path / name).stat().st_size > 0
    assert not list(path.glob(".partial*"))
    assert (path / "labels.txt").read_text(encoding="utf-8").splitlines() == ["blue, small", "grün", "red bird"]
    data = json.loads((path / "data.json").read_text(encoding="utf-8"))
    assert data["photos"] == {"train": 27, "val": 9, "test": 15}
    assert finished.run.read_status()["status"] == "finished"
    with finished.run.metrics.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    best = max(range(4), key=lambda index: float(rows[index]["val_combined_accuracy"]))
    assert finished.best_epoch == best + 1


def test_training_lowers_the_loss(finished: training.TrainingResult) -> None:
    with finished.run.metrics.open(encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.7 * losses[0]


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(
    experiment: Experiment, finished: training.TrainingResult, tmp_path: Path
) -> None:
    def weights(seed: int, name: str) -> list[np.ndarray]:
        changed = experiment.model_copy(
            update={"training": experiment.training.model_copy(update={"seed": seed, "epochs": 1})}
        )
        run = training.train(changed, run_dir=str(tmp_path / name)).run
        return load_model(run.last).get_weights()

    first, again, other = weights(1, "a"), weights(1, "b"), weights(2, "c")
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_an_existing_run_directory_is_not_touched(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="never overwritten"):
        training.train(experiment, run_dir=str(tmp_path / "run"))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_loss_that_is_not_finite_stops_with_the_step_and_leaves_nothing(
    experiment: Experiment, tmp_path: Path
) -> None:
    wild = experiment.model_copy(update={"training": experiment.training.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(CheckFailed, match=r"at step \d of epoch 1"):
        training.train(wild, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_disk_that_cannot_hold_the_checkpoints_is_refused_before_training(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(training.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(UserError, match="checkpoints need"):
        training.train(experiment, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_keeps_the_last_whole_checkpoint(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = CLAN.save, []

    def failing_save(model: CLAN, path: Path) -> None:
        calls.append(path)
        if len(calls) > 2:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        save(model, path)

    monkeypatch.setattr(CLAN, "save", failing_save)
    with pytest.raises(CheckFailed, match="No space left on device.*last whole checkpoints"):
        training.train(experiment, run_dir=str(tmp_path / "run"))
    run = RunDirectory(tmp_path / "run")
    assert load_model(run.best).class_names == ["blue, small", "grün", "red bird"]
    assert run.read_status()["status"] == "failed"
    assert not list(run.path.glob(".partial*"))


def test_an_interrupted_run_says_so(experiment: Experiment, tmp_path: Path) -> None:
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(experiment, run_dir=str(tmp_path / "run"), callbacks=[Interrupt()])
    assert RunDirectory(tmp_path / "run").read_status()["status"] == "stopped"


def test_early_stopping_ends_the_run(experiment: Experiment, tmp_path: Path) -> None:
    patient = experiment.training.model_copy(update={"early_stopping": 1, "learning_rate": 1e-9, "epochs": 9})
    result = training.train(experiment.model_copy(update={"training": patient}), run_dir=str(tmp_path / "run"))
    assert result.epochs < 9
