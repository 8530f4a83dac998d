"""KerasTuner's algorithms in a search that is stopped: every trial once, and the same trials as without a stop."""

import json
from pathlib import Path
from typing import Any

import pytest
from keras_tuner.engine.trial import Trial

from clan_tf.config import load_experiment
from clan_tf.errors import UserError
from clan_tf.files import write_json
from clan_tf.search import SearchConfig, oracles
from clan_tf.search.directory import Repeat, SearchDirectory, TrialResult
from clan_tf.search.hyperparameters import decode
from clan_tf.search.oracles import DurableOracle, make_oracle
from clan_tf.search.size import planned_trials
from helpers import TINY_DEMO

EPOCHS = 9
BUDGETS: dict[str, dict[str, Any]] = {
    "random": {"trials": 6},
    "grid": {},
    "bayesian": {"trials": 10},
    "hyperband": {},
}


def config(algorithm: str, **more: Any) -> SearchConfig:
    parameters = {
        "model.relation": {"kind": "choice", "values": ["gaussian", "dot_product", "embedded_gaussian"]},
        "model.embed_dim": {
            "kind": "int",
            **{"min": 8, "max": 64, "sampling": "log", "step": 2},
            "when": {"model.relation": ["dot_product", "embedded_gaussian"]},
        },
        "training.learning_rate": {"kind": "float", "min": 0.001, "max": 0.1, "sampling": "log", "step": 10},
    }
    return SearchConfig.model_validate({"parameters": parameters, "algorithm": algorithm, **more})


class Lab:
    """A search whose trials take no time: their result is a number made of their values."""

    def __init__(self, search: SearchConfig, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self.search, self.directory = search, SearchDirectory(path)
        self.oracle = self.start()

    def start(self, lease: float | None = None) -> DurableOracle:
        """What a new process would know."""
        self.oracle = make_oracle(self.search, self.directory, EPOCHS, lease)
        return self.oracle

    def run(self, trial: Trial, fails: bool = False) -> None:
        """What `ExperimentTuner` does with a trial."""
        values = decode(self.search, trial.hyperparameters.values)
        epochs = trial.hyperparameters.values.get("tuner/epochs", EPOCHS)
        score = values.get("model.embed_dim", 1) / 64 + values["training.learning_rate"] + epochs / 100
        repeats = () if fails else (Repeat(0, score, 1, 1.0),)
        self.record(TrialResult(trial.trial_id, values, repeats, "the loss became nan" if fails else None))
        if fails:
            trial.status = "FAILED"
        else:
            self.oracle.update_trial(trial.trial_id, {self.search.objective: score})
            trial.status = "COMPLETED"
        self.oracle.end_trial(trial)

    def record(self, result: TrialResult) -> None:
        (self.directory.path / "trials" / result.trial).mkdir(parents=True, exist_ok=True)
        self.directory.write_result(result)

    def all_trials(self) -> list[TrialResult]:
        return self.directory.results()


def run_undisturbed(search: SearchConfig, path: Path) -> list[TrialResult]:
    lab = Lab(search, path)
    while (trial := lab.oracle.create_trial("tuner0")).status == "RUNNING":
        lab.run(trial)
    assert trial.status == "STOPPED"
    return lab.all_trials()


@pytest.mark.parametrize("algorithm", list(BUDGETS))
def test_a_search_stopped_anywhere_makes_the_trials_of_one_left_in_peace(algorithm: str, tmp_path: Path) -> None:
    search = config(algorithm, **BUDGETS[algorithm])
    expected = run_undisturbed(search, tmp_path / "undisturbed")
    assert len(expected) == planned_trials(search, EPOCHS)
    lab = Lab(search, tmp_path / "stopped")
    for _ in range(3 * len(expected)):
        trial = lab.oracle.create_trial("tuner0")
        if trial.status == "STOPPED":
            break
        lab.start()  # killed while the trial trained
        again = lab.oracle.create_trial("tuner0")
        assert again.trial_id == trial.trial_id
        assert again.hyperparameters.values == trial.hyperparameters.values
        lab.run(again)
        lab.start()  # killed after it had ended
    assert lab.all_trials() == expected
    assert lab.start().is_over


def test_a_process_killed_between_two_writes_counts_its_trial_once(tmp_path: Path) -> None:
    search = config("grid")
    lab = Lab(search, tmp_path / "search")
    first = lab.oracle.create_trial("tuner0")
    before = json.loads(lab.directory.oracle.read_text())
    lab.run(first)
    write_json(lab.directory.oracle, before)  # as if it had been killed after the result, and before the oracle knew
    lab.start()
    again = lab.oracle.create_trial("tuner0")
    assert again.trial_id == first.trial_id
    lab.run(again)
    assert lab.oracle.end_order == [first.trial_id]
    (observation,) = lab.oracle.trials[first.trial_id].metrics.get_history(search.objective)
    assert len(observation.value) == 1
    lab.oracle.end_trial(again)  # a worker that was thought dead reports too
    assert lab.oracle.end_order == [first.trial_id]


def test_too_many_failures_in_a_row_stop_the_search_with_the_last_reason(tmp_path: Path) -> None:
    lab = Lab(config("grid", max_failures=2), tmp_path / "search")
    for fails in (True, False, True, True):
        lab.run(lab.oracle.create_trial("tuner0"), fails)
    assert lab.oracle.create_trial("tuner0").status == "STOPPED"
    assert lab.oracle.stop_reason == "the loss became nan"
    assert lab.start().stop_reason == "the loss became nan"


def test_a_larger_budget_goes_on(tmp_path: Path) -> None:
    assert len(run_undisturbed(config("random", trials=2), tmp_path / "search")) == 2
    assert Lab(config("random", trials=2), tmp_path / "search").oracle.is_over
    assert len(run_undisturbed(config("random", trials=4), tmp_path / "search")) == 4


def test_hours_end_a_search(tmp_path: Path) -> None:
    trials = run_undisturbed(config("random", hours=2.5 / 3600), tmp_path / "search")
    assert len(trials) == 3  # each says that it took a second


def test_the_trial_of_a_silent_worker_goes_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(oracles.time, "monotonic", lambda: now[0])
    lab = Lab(config("random", trials=2), tmp_path / "search")
    chief = lab.start(lease=10)
    dead, alive = chief.create_trial("dead"), chief.create_trial("alive")
    now[0] += 8
    chief.get_trial(alive.trial_id)  # the sign of life
    now[0] += 8
    lab.run(alive)
    taken_over = chief.create_trial("alive")
    assert taken_over.trial_id == dead.trial_id
    assert taken_over.hyperparameters.values == dead.hyperparameters.values
    lab.run(taken_over)
    assert chief.create_trial("alive").status == "STOPPED"
    assert chief.is_over
    assert not chief.forget_silent_workers()


def test_a_worker_waits_while_another_may_give_its_trial_back(tmp_path: Path) -> None:
    lab = Lab(config("random", trials=1), tmp_path / "search")
    chief = lab.start(lease=10)
    trial = chief.create_trial("first")
    assert chief.create_trial("second").status == "IDLE"
    lab.run(trial)
    assert chief.create_trial("second").status == "STOPPED"


def test_a_chief_that_starts_again_keeps_the_trials_of_its_workers(tmp_path: Path) -> None:
    lab = Lab(config("random", trials=3), tmp_path / "search")
    trial = lab.start(lease=10).create_trial("worker")
    chief = lab.start(lease=10)
    assert chief.create_trial("other").trial_id != trial.trial_id
    lab.run(trial)
    assert chief.end_order == [trial.trial_id]


BROKEN = (b"", b"{", b"[]", b"{}", b'{"trials": [1]}', b'{"trials": NaN}', b"\xff", b"[" * 200_000)


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("name", ["oracle.json", "trials/0000/result.json", "search.json"])
def test_a_damaged_file_of_a_search_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    directory, search = SearchDirectory(tmp_path), config("random", trials=1)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    readers = {
        "oracle.json": lambda: make_oracle(search, directory, EPOCHS),
        "search.json": lambda: directory.begin(load_experiment(TINY_DEMO), search),
    }
    with pytest.raises(UserError, match=f"^{path}: is damaged "):
        readers.get(name, directory.results)()


def test_a_folder_of_others_is_no_search_directory_and_nothing_is_put_into_it(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    with pytest.raises(UserError, match="isn't a search directory"), SearchDirectory(tmp_path).claimed():
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_only_logs_are_removed_for_new_ones(tmp_path: Path) -> None:
    directory = SearchDirectory(tmp_path)
    log, note = (directory.tensorboard / "0000" / name for name in ("events.out.tfevents.1.host", "notes.txt"))
    log.parent.mkdir(parents=True)
    log.touch()
    note.touch()
    directory.remove_logs()
    assert note.exists() and not log.exists()
