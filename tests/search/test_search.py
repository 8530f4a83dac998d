"""Searches that train: what they leave behind, how they go on, and what they refuse."""

import csv
import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clan_tf.config import Experiment, load_experiment, with_values
from clan_tf.errors import CheckFailed, UserError
from clan_tf.files.temporary import temporary_file
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files
from clan_tf.search import SearchConfig, SearchOutcome, plan_search, search
from clan_tf.search.checking import check_models
from clan_tf.search.directory import SearchDirectory
from clan_tf.search.trials import TrialTrainer
from clan_tf.training import train
from clan_tf.training.failures import how_to_resume
from helpers import TINY_DEMO, TOOLS
from helpers.notes import Notes
from tools import search_process

TABLE = ("trial", "training.learning_rate", "val_combined_accuracy", "spread", "repeats", "best_epochs", "failed")
"""Columns of a leaderboard that don't tell time."""


def tiny(*overrides: str) -> Experiment:
    photos = ["data.image_size=32", "data.resize_size=36", "data.generated_photos={train: 16, val: 16, test: 8}"]
    recipe = ["model.architecture=plain", "training.epochs=1", "training.batch_size=8"]
    return load_experiment(TINY_DEMO, [*photos, *recipe, *overrides])


def rates(*values: float, **more: Any) -> SearchConfig:
    parameters = {"training.learning_rate": {"kind": "choice", "values": list(values)}}
    return SearchConfig.model_validate({"parameters": parameters, "algorithm": "grid", **more})


def read_table(directory: SearchDirectory) -> list[dict[str, str]]:
    with directory.leaderboard.open(newline="", encoding="utf-8") as file:
        return [{name: row[name] for name in TABLE} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SearchOutcome:
    """Two learning rates with two seeds each, and one that can't be trained with."""
    return search(tiny(), rates(1e30, 0.01, 0.05, repeats=2), tmp_path_factory.mktemp("searches") / "search")


def test_the_leaderboard_holds_mean_and_spread_over_the_seeds(found: SearchOutcome) -> None:
    rows = read_table(found.directory)
    assert [row["failed"] == "" for row in rows] == [True, True, False]
    for row in rows[:2]:
        accuracies = [float(value) for value in row["repeats"].split()]
        assert float(row["val_combined_accuracy"]) == pytest.approx(sum(accuracies) / 2)
        assert float(row["spread"]) == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5, abs=1e-4)
        for seed, accuracy in enumerate(accuracies):
            run = RunDirectory(found.directory.run(row["trial"], seed))
            assert run.experiment().training.seed == seed
            assert run.experiment().training.learning_rate == float(row["training.learning_rate"])
            assert run.outcome().best_accuracy == pytest.approx(accuracy)
    assert float(rows[0]["val_combined_accuracy"]) >= float(rows[1]["val_combined_accuracy"])


def test_a_trial_that_fails_is_recorded_with_its_reason(found: SearchOutcome) -> None:
    failed = read_table(found.directory)[-1]
    assert "NaN" in failed["failed"]
    assert failed["training.learning_rate"] == "1e+30"
    text = found.directory.leaderboard_text.read_text(encoding="utf-8")
    assert "- trial 0000: The model outputs NaN" in text
    assert found.stop_reason is None


def test_a_failed_trial_names_no_command_for_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(experiment: Experiment, path: str, **others: Any) -> None:
        (RunDirectory(path).checkpoints).mkdir(parents=True)
        (RunDirectory(path).checkpoints / "state-000000006.npz").touch()
        raise CheckFailed(f"The disk is full.{how_to_resume(RunDirectory(path))}")

    monkeypatch.setattr("clan_tf.search.trials.train", fail)
    trainer = TrialTrainer(tiny(), rates(0.1), SearchDirectory(tmp_path))
    assert trainer.train("0000", {"training.learning_rate": 0.1}, None, Progress()).reason == "The disk is full."


def test_only_the_best_trial_keeps_its_models(found: SearchOutcome) -> None:
    best = found.ranked[0].trial
    kept = {path.parent.parent.name for path in found.directory.path.rglob("*.keras")}
    assert kept == {best}
    assert not list(found.directory.path.rglob("last.keras"))
    assert not list(found.directory.path.rglob("checkpoints"))


def test_the_best_experiment_is_complete_and_trains(found: SearchOutcome, tmp_path: Path) -> None:
    text = found.directory.best_config.read_text(encoding="utf-8")
    assert set(yaml.safe_load(text)) == {"name", "data", "model", "training"}
    best = load_experiment(found.directory.best_config)
    assert best.training.learning_rate == found.ranked[0].values["training.learning_rate"]
    outcome = train(best, str(tmp_path / "run")).outcome
    assert outcome.best_accuracy == pytest.approx(found.ranked[0].repeats[0].value)


def test_there_are_a_picture_and_the_hparams_of_every_trial(found: SearchOutcome) -> None:
    with Image.open(found.directory.picture) as picture:
        assert picture.format == "PNG"
    assert sorted(path.name for path in found.directory.tensorboard.iterdir()) == ["0000", "0001", "0002"]
    events = EventAccumulator(str(found.directory.tensorboard / found.ranked[0].trial)).Reload()
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")


def test_a_finished_search_says_so_and_shows_its_result(found: SearchOutcome) -> None:
    notes = Notes()
    again = search(tiny(), found.search, found.directory.path, progress=notes)
    assert again.was_over
    assert notes.notes == [f"{found.directory.path} is finished"]
    assert again.ranked == found.ranked


def test_the_directory_of_another_search_is_refused_with_the_difference(found: SearchOutcome) -> None:
    path = found.directory.path
    with pytest.raises(UserError, match=r"experiment.training.batch_size: 8 there, 4 now"):
        search(tiny("training.batch_size=4"), found.search, path)
    with pytest.raises(UserError, match=r"learning_rate.values: \[1e\+30, 0.01, 0.05\] there, \[0.5\] now"):
        search(tiny(), rates(0.5, repeats=2), path)
    with pytest.raises(UserError, match="isn't a search directory"):
        search(tiny(), found.search, path / "trials")


def test_an_objective_that_no_model_logs_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no 'val_combind_accuracy'. Did you mean val_combined_accuracy?"):
        search(tiny(), rates(0.1, objective="val_combind_accuracy"), tmp_path / "search")
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.loss_weights.mid_9", 0.5, "model.loss_weights.mid_9: no branch 'mid_9'. .*There are: mid_1, top"),
        ("model.scales", 7, "model.scales: tiny has default .* not for 7"),
        ("model.mid", ["conv9"], "model.mid: tiny has no layer 'conv9'"),
        ("training.class_weights.painted stork", 2.0, "training.class_weights: no class 'painted stork'"),
        ("training.class_weights", {"painted stork": 2}, "training.class_weights: no class 'painted stork'"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_before_anything_is_made(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    space = {"parameters": {key: {"kind": "choice", "values": [value]}}, "algorithm": "grid"}
    with pytest.raises(UserError, match=message):
        search(tiny("model.architecture=clan"), SearchConfig.model_validate(space), tmp_path / "search")
    assert not (tmp_path / "search").exists()


def test_a_chief_without_a_role_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--chief: needs --role"):
        search(tiny(), rates(0.1), tmp_path / "search", chief="localhost:5000")


@pytest.mark.parametrize(("weights", "fits"), [([0.0, 0.5], False), ([0.1, 0.5], True)])
def test_a_loss_that_only_some_trials_have_is_no_objective(weights: list[float], fits: bool) -> None:
    parameters = {"model.mamc.pair_loss_weight": {"kind": "choice", "values": weights}}
    values = {"parameters": parameters, "algorithm": "grid", "objective": "pairs_loss"}
    with nullcontext() if fits else pytest.raises(UserError, match="no 'pairs_loss'"):
        check_models(SearchConfig.model_validate(values), tiny("model.architecture=mamc"), "space")


def test_a_search_killed_while_it_made_its_directory_begins(tmp_path: Path) -> None:
    directory = SearchDirectory(tmp_path)
    with temporary_file(tmp_path / "search.json") as own:
        name = own.name
    (tmp_path / name).write_text("{", encoding="utf-8")
    (tmp_path / ".lock").touch()
    directory.begin(tiny(), rates(0.1))
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["search.json"]


def test_a_search_from_before_a_method_existed_goes_on(tmp_path: Path) -> None:
    directory, file = SearchDirectory(tmp_path), tmp_path / "search.json"
    clan = tiny("model.architecture=clan")
    directory.begin(clan, rates(0.1))
    began = json.loads(file.read_text(encoding="utf-8"))
    del began["experiment"]["model"]["bcnn"], began["experiment"]["model"]["lrbp"]
    # The order of the photos was one that is chosen now.
    began["experiment"]["data"]["sampling"] = "shuffle"
    file.write_text(json.dumps(began), encoding="utf-8")
    directory.begin(clan, rates(0.1))
    began["experiment"]["model"].pop("relation")
    file.write_text(json.dumps(began), encoding="utf-8")
    with pytest.raises(UserError, match="experiment.model.relation: nothing there, .*dot_product.* now"):
        directory.begin(clan, rates(0.1))


def test_failures_in_a_row_stop_the_search(tmp_path: Path) -> None:
    outcome = search(tiny(), rates(1e30, 0.1, max_failures=1), tmp_path / "search")
    assert "NaN" in outcome.stop_reason
    assert [result.trial for result in outcome.ranked] == ["0000"]
    assert not outcome.directory.best_config.exists()


def test_a_dry_run_measures_an_epoch_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_search(tiny("training.epochs=5"), rates(0.1, 0.2, repeats=3), Progress())
    assert plan.trials == 2
    assert plan.seconds == pytest.approx(2 * 3 * 5 * plan.epoch_seconds)
    assert plan.space == {"training.learning_rate": ("0.1, 0.2", "")}
    assert not list(tmp_path.iterdir())


def test_no_model_or_graph_outlives_its_trial_and_the_photos_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = TrialTrainer(tiny(), rates(0.1), SearchDirectory(tmp_path))
    trainer.train("0000", {"training.learning_rate": 0.1}, None, Progress())
    photos = trainer.prepare(tiny())
    monkeypatch.setattr("clan_tf.search.trials.prepare_data", None)
    before = living_models_and_graphs()
    result = trainer.train("0001", {"training.learning_rate": 0.2}, None, Progress())
    assert result.reason is None
    assert trainer.prepare(tiny()) is photos
    of_batches = {"data.augmentation.mixup": 0.5, "data.flip": False, "data.sampling": "class_balanced"}
    assert trainer.prepare(with_values(tiny(), of_batches)) is photos
    with pytest.raises(TypeError):  # not the same photos: there is nothing to prepare them with
        trainer.prepare(with_values(tiny(), {"data.split_seed": 1}))
    assert not [thing for thing in living_models_and_graphs() if not any(thing is other for other in before)]


def living_models_and_graphs() -> list[keras.Model | tf.Graph]:
    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, keras.Model | tf.Graph)]


@pytest.mark.soak
def test_thirty_trials_end_within_a_fifth_of_the_memory_after_the_fifth(tmp_path: Path) -> None:
    trainer = TrialTrainer(tiny(), rates(0.1), SearchDirectory(tmp_path))
    memory = []
    for index in range(30):
        trainer.train(f"{index:04d}", {"training.learning_rate": 0.01 + index / 1000}, None, Progress())
        memory.append(resident_bytes())
    print([round(each / 1e6) for each in memory])
    assert memory[-1] < 1.2 * memory[4]


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def start(search_dir: Path, *role: str) -> subprocess.Popen:
    command = [sys.executable, str(TOOLS / "search_process.py"), str(search_dir), *role]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> str:
    output, notes = process.communicate(timeout=400)
    assert process.returncode == 0, notes[-3000:]
    assert output == ""
    return notes


def wait_for_trial(directory: SearchDirectory, trial: str, process: subprocess.Popen) -> None:
    """Until a trial has a checkpoint."""
    deadline = time.monotonic() + 300
    while not state_files(RunDirectory(directory.run(trial, 0)).checkpoints):
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("searches") / "undisturbed"
    return read_table(search(search_process.experiment(), search_process.space(), path).directory)


@pytest.mark.soak  # a minute; the next test kills a process of a search, too
def test_a_killed_search_goes_on_to_the_table_of_one_left_in_peace(
    undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    directory = SearchDirectory(tmp_path / "search")
    process = start(directory.path)
    wait_for_trial(directory, "0001", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [result.trial for result in directory.results()] == ["0000"]
    notes = finish(start(directory.path))
    assert "trial 0000:" not in notes
    assert read_table(directory) == undisturbed


def test_a_chief_and_two_workers_of_which_one_is_killed_make_the_same_table(
    undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    directory = SearchDirectory(tmp_path / "search")
    chief = start(directory.path, "chief", address)
    victim = start(directory.path, "worker", address)
    wait_for_trial(directory, "0000", victim)
    other = start(directory.path, "worker", address)
    victim.kill()
    victim.communicate()
    assert "trial 0000" in finish(other)
    finish(chief)
    assert read_table(directory) == undisturbed


def test_keras_tuner_that_is_missing_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['keras_tuner'] = None; from clan_tf.cli.main import run; run()"
    command = [sys.executable, "-c", code, "search", TINY_DEMO, "--search-dir", str(tmp_path / "search")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr == "clan-tf: clan-tf search needs KerasTuner: pip install 'clan-tf[search]'\n"
