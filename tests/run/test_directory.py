"""The names of a run's files, against what training and evaluation leave on the disk."""

import shutil
from pathlib import Path

from clan_tf.choices import FORMER_DEFAULTS
from clan_tf.config import ModelConfig
from clan_tf.evaluation import evaluate
from clan_tf.files.writing import LOCK
from clan_tf.run import EvaluationFolder, RunDirectory
from clan_tf.run.unfinished import note_unless_finished


def names_in(folder: Path) -> set[str]:
    return {f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir()}


def named_by(kind: RunDirectory | EvaluationFolder) -> set[str]:
    """The names that the properties give."""
    values = {getattr(kind, name) for name, value in vars(type(kind)).items() if isinstance(value, property)}
    return {value.name for value in values if isinstance(value, Path)}


def test_files_lists_what_is_in_a_finished_and_evaluated_run(trained_run: RunDirectory) -> None:
    evaluate(str(trained_run.path))
    found = names_in(trained_run.path) - {LOCK, "report.html", "exports/"}
    assert found == set(RunDirectory.FILES) - {"checkpoints/"}


def test_every_file_of_a_run_has_a_property(trained_run: RunDirectory) -> None:
    listed = {name.rstrip("/") for name in RunDirectory.FILES}
    assert named_by(trained_run) == (listed | {"report.html", RunDirectory.INIT_PHOTOS}) - {"evaluation"}


def test_every_file_of_an_evaluation_has_a_property(trained_run: RunDirectory) -> None:
    evaluate(str(trained_run.path))
    folder = trained_run.evaluation("test")
    assert folder.is_complete
    assert named_by(folder) == names_in(folder.path) | {folder.levels.name}  # only of a model with a taxonomy


def test_a_run_from_before_a_choice_existed_keeps_the_network_it_had(trained_run: RunDirectory, tmp_path: Path) -> None:
    lines = trained_run.config.read_text(encoding="utf-8").splitlines(keepends=True)
    older = [line for line in lines if line.split(":")[0].strip() not in FORMER_DEFAULTS]
    assert len(older) == len(lines) - len(FORMER_DEFAULTS)
    run = RunDirectory(tmp_path)
    run.config.write_text("".join(older), encoding="utf-8")
    assert {name: getattr(run.experiment().model, name) for name in FORMER_DEFAULTS} == FORMER_DEFAULTS
    plain = "".join(lines).replace("architecture: clan", "architecture: plain").replace("dot_product", "gaussian")
    run.config.write_text(plain, encoding="utf-8")
    assert run.experiment().model == ModelConfig(architecture="plain", backbone="tiny")
    run.config.write_text("".join(older), encoding="utf-8")
    assert run.experiment(["model.mid_pooling=max"]).model.mid_pooling == "max"


def test_a_model_of_an_unfinished_run_is_noted_with_its_epochs(trained_run: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(trained_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("tensorboard", "evaluation"))
    run, notes = RunDirectory(tmp_path / "run"), []
    for other in (None, run):
        note_unless_finished(other, notes.append)
    assert notes == []
    run.write_status("stopped", reason="Ctrl-C")
    note_unless_finished(run, notes.append)
    assert notes == [f"note: the run {run.path} is stopped, after 1 epoch: this is its best model so far"]
