"""Evaluations are of the model's file as it is now, or are done again; and where they can be written."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.errors import UserError
from clan_tf.evaluation import current_evaluation, evaluate, read_predictions, tables
from clan_tf.files import write_text
from clan_tf.models import load_model, save_model
from clan_tf.report import write_report
from clan_tf.run import EvaluationFolder, RunDirectory
from helpers.models import randomize_heads
from helpers.notes import Notes
from helpers.pictures import without_pictures


@pytest.fixture
def run(trained_run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """An evaluated run whose best model was replaced afterwards, as training does that goes on."""
    ignored = shutil.ignore_patterns("tensorboard", "evaluation", "exports")
    shutil.copytree(trained_run.path, tmp_path / "run", ignore=ignored)
    run = RunDirectory(tmp_path / "run")
    with without_pictures():
        evaluate(str(run.path), top=2)
    assert run.evaluation("test").is_current
    save_model(randomize_heads(load_model(run.best)), run.best)
    return run


def answers(folder: EvaluationFolder) -> list[str]:
    return [row["combined_probability"] for row in read_predictions(folder, ("combined",))]


def test_what_was_evaluated_of_an_earlier_model_is_evaluated_again(run: RunDirectory) -> None:
    folder, noted = run.evaluation("test"), Notes()
    assert folder.is_complete and not folder.is_current
    before = answers(folder)
    with without_pictures():
        assert current_evaluation(run, "test", progress=noted).is_current
        assert answers(folder) != before
        assert current_evaluation(run, "test", progress=noted).is_current
    said = f"note: {folder.path} is of another best.keras than there is now, so it is done again"
    assert [note for note in noted.notes if "best.keras" in note] == [said]
    stored = json.loads(folder.metrics.read_text(encoding="utf-8"))
    assert stored["model_sha256"] == hashlib.sha256(run.best.read_bytes()).hexdigest()
    assert stored["top"] == 2


def test_an_older_evaluation_and_one_whose_model_is_gone_can_still_be_read(run: RunDirectory) -> None:
    folder = run.evaluation("test")
    stored = json.loads(folder.metrics.read_text(encoding="utf-8"))
    older = {key: value for key, value in stored.items() if key != "model_sha256"}
    write_text(folder.metrics, json.dumps(older))
    assert folder.is_current
    write_text(folder.metrics, json.dumps(stored))
    assert not folder.is_current
    run.best.unlink()
    assert folder.is_current


def test_a_report_is_about_the_model_as_it_is_now(run: RunDirectory, tmp_path: Path) -> None:
    write_report(str(run.path), tmp_path / "page.html")
    assert run.evaluation("test").is_current
    rows = read_predictions(run.evaluation("test"), ("combined",))
    right = sum(row["combined"] == row["true"] for row in rows)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"{right} of {len(rows)} test photos" in page
    assert "Top-5" not in page  # of three classes


def test_a_broken_off_evaluation_leaves_the_earlier_one(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run.evaluation("test")
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}

    def killed(*arguments: object, **others: object) -> None:
        raise KeyboardInterrupt

    def full(*arguments: object, **others: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name, failure, error in (("plot_confusion", killed, KeyboardInterrupt), ("_prediction_rows", full, OSError)):
        with monkeypatch.context() as patched, pytest.raises(error):
            patched.setattr(tables, name, failure)
            evaluate(str(run.path))
        assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before
        assert folder.is_complete and not folder.is_current  # the model is another by now
    shutil.rmtree(folder.path)
    monkeypatch.setattr(tables, "_prediction_rows", full)
    with pytest.raises(OSError) as caught:
        evaluate(str(run.path))
    assert caught.value.filename == str(folder.path) and not folder.path.exists()


@pytest.mark.parametrize("name", ["thesis.txt", "metrics.json", "predictions.csv"])
def test_a_folder_of_other_files_is_left_alone(name: str, trained_run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"my": "thesis", "split": "test"}', encoding="utf-8")
    with pytest.raises(UserError, match=f"--output: .* holds files that aren't an evaluation's, such as .?{name}"):
        evaluate(str(trained_run.path), output=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == '{"my": "thesis", "split": "test"}'


@pytest.mark.parametrize("inside", ["", "evaluation", "tensorboard", "evaluation/mine"])
def test_a_run_and_its_other_folders_are_left_alone(inside: str, run: RunDirectory) -> None:
    for name in ("tensorboard/events", "evaluation/mine/predictions.csv"):
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_text("mine", encoding="utf-8")
    before = sorted(run.path.rglob("*"))
    with pytest.raises(UserError, match="--output: .* holds files that aren't an evaluation's"):
        evaluate(str(run.path), output=str(run.path / inside))
    assert sorted(run.path.rglob("*")) == before


def test_files_that_a_user_added_to_a_runs_evaluation_stay(run: RunDirectory) -> None:
    folder = run.evaluation("test")
    (folder.path / "notes.txt").write_text("mine", encoding="utf-8")
    with without_pictures():
        evaluate(str(run.path))
        evaluate(str(run.path), output=str(folder.path))
    assert folder.is_current and (folder.path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_earlier_evaluation_is_replaced(trained_run: RunDirectory, tmp_path: Path) -> None:
    for split in ("test", "val"):
        with without_pictures():
            evaluate(str(trained_run.path), split, output=str(tmp_path / "evaluation"))
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text(encoding="utf-8"))["split"] == "val"


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["evaluate", "RUN"], "file"),
        (["evaluate", "RUN"], "file/folder"),
        (["reproduce", "table2", "demo"], "file"),
        (["reproduce", "table2", "demo", "--plan"], "file/folder"),
        (["reproduce", "table5"], "file"),
        (["report", "RUN"], "file/page.html"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_refused_before_anything_is_computed(
    words: list[str], place: str, trained_run: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    words = [str(trained_run.path) if word == "RUN" else word for word in words]
    done = CliRunner().invoke(app, [*words, "--output", str(tmp_path / place)])
    assert isinstance(done.exception, UserError), done.output
    assert str(done.exception) == f"--output: {tmp_path / 'file'} is a file, but must be a folder. Give another path."
    assert "running" not in done.output and (tmp_path / "file").read_text(encoding="utf-8") == "mine"
