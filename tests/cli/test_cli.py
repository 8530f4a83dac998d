"""The commands as a user runs them: what they print, their exit codes, and what they leave behind."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from clan_tf.cli import console
from clan_tf.cli.console import run_safely
from clan_tf.cli.main import app, run
from clan_tf.errors import CheckFailed, UserError


@pytest.fixture
def fast_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Overrides that make the demo train for seconds, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    overrides = ["training.epochs=1", "training.batch_size=8", "data.image_size=32", "data.resize_size=36"]
    overrides += ["data.generated_photos={train: 16, val: 8, test: 8}", "model.backbone=tiny", "model.weights=none"]
    return [word for override in overrides for word in ("--set", override)]


def failure(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["clan-tf", *arguments])
    with pytest.raises(SystemExit) as caught:
        run()
    return caught.value.code, capsys.readouterr().err


def verbs(group: Any, *words: str) -> Iterator[tuple[str, Any]]:
    """Every command of the app below a group, by the words that run it, such as `data check`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, *words, name)
        else:
            yield " ".join([*words, name]), command


VERBS = dict(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_verb_and_says_what_it_and_each_of_its_options_does(verb: str) -> None:
    *group, name = verb.split()
    listed = CliRunner().invoke(app, [*group, "--help"])
    assert listed.exit_code == 0
    assert re.search(rf"^ *{name} +\w", listed.output, re.MULTILINE), listed.output
    asked = CliRunner().invoke(app, [*verb.split(), "--help"])
    assert asked.exit_code == 0 and f"{verb} [OPTIONS]" in asked.output
    assert [parameter.name for parameter in VERBS[verb].params if not parameter.help] == []


def test_every_file_of_a_verb_is_a_command() -> None:
    no_verbs = {
        "__init__",
        "main",
        "branches",
        "completion",
        "console",
        "examples",
        "experiment",
        "help",
        "speed_tables",
        "streams",
    }
    files = {path.stem for path in Path(console.__file__).parent.glob("*.py")} - no_verbs
    assert files == {verb.replace(" ", "_") for verb in VERBS}


def test_the_version_is_the_installed_packages() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"clan-tf {metadata.version('clan-tf')}\n")


def test_summary_prints_one_json_document() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clan_tf.cli.main", "summary", "demo", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {"parameters", "macs", "relation_macs"} <= set(answer)
    assert done.stderr == ""


def test_train_evaluate_and_predict_as_a_user_would(fast_demo: list[str], tmp_path: Path) -> None:
    runner = CliRunner()
    trained = runner.invoke(app, ["train", *fast_demo])
    assert trained.exit_code == 0, trained.output
    assert "combined (mid_1 + top + refined_top)" in trained.output
    assert "trained 1 epoch in" in trained.output
    assert "runs/demo-001" in trained.output
    assert "These answers aren't clearly better than always" in trained.output and "--epochs N" in trained.output
    run_dir = tmp_path / "runs" / "demo-001"
    assert (run_dir / "evaluation" / "test" / "confusion.png").is_file()

    evaluated = runner.invoke(app, ["evaluate", str(run_dir), "--json", "--branches", "top,mid_1"])
    answer = json.loads(evaluated.stdout)
    assert answer["photos"] == 8 and answer["combined_branches"] == ["top", "mid_1"]
    assert answer["split"] == "test" and Path(answer["model"]).samefile(run_dir / "best.keras")

    (run_dir / "text.jpg").write_text("no photo", encoding="utf-8")
    predicted = runner.invoke(
        app, ["predict", str(run_dir), str(run_dir / "samples.png"), str(run_dir / "text.jpg"), "--json", "--top", "3"]
    )
    assert predicted.exit_code == 1
    first, second = json.loads(predicted.stdout)
    assert len(first["predictions"]) == 3 and second["error"] == "not an image"

    resumed = runner.invoke(app, ["train", "--resume", "--run-dir", str(run_dir)])
    assert resumed.exit_code == 0 and "is finished" in resumed.output
    assert "combined (mid_1 + top + refined_top)" in resumed.output
    other = runner.invoke(app, ["train", "--resume", "--run-dir", str(run_dir), "--set", "training.seed=3"])
    assert "training.seed: 0 in the run, 3 now" in str(other.exception)

    again = runner.invoke(app, ["train", "--dry-run", *fast_demo])
    assert again.exit_code == 0 and "16 train, 8 val, 8 test" in again.output
    assert not (tmp_path / "runs" / "demo-002").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--set", "training.epoch=3"], "Did you mean training.epochs?"),
        (["train", "--set", "model.mid=[stage9]"], "Aliases"),
        (["train", "--set", "model.backbone=tinny"], "Did you mean tiny?"),
        (["train", "--set", "model.weights=imagenet"], "no ImageNet weights"),
        (["train", "--set", "model.loss_weights={tap: 1}"], "Did you mean top?"),
        (["train", "resnet50"], "data.root"),
        (["train", "--run-dir", "."], "never overwritten"),
        (["train", "--dry-run", "--run-dir", "."], "never overwritten"),
        (["train", "--dry-run", "--set", "model.weights=none.h5"], "there is no file"),
        (["train", "--init", 'a "quoted" model'], 'a "quoted" model: no such file'),
        (["train", "--resume"], "--resume: needs the run to resume"),
        (
            ["train", "--resume", "--run-dir", "absent"],
            "--resume: there is no run absent. To start one there, say what",
        ),
        (["train", "training.schedule=cosine"], "received 'cosine'. Did you mean training.schedule.kind=cosine?"),
        (["train", "--set", "training.device=gpu"], "TensorFlow sees no GPU"),
        (["train", "--set", "training.accumulation=5"], "must be a multiple of accumulation"),
        (["train", "--set", "training.loss_weight_schedules={mid: {start: 0, epochs: 1}}"], "Did you mean mid_1?"),
        (["evaluate", "."], "not a run directory"),
        (["predict", "missing.keras", "photo.jpg"], "missing.keras: no such file or folder"),
        (["summary", "resnet5"], "Did you mean resnet50?"),
    ],
)
def test_a_users_mistake_gets_one_message_and_leaves_nothing(
    arguments: list[str],
    expected: str,
    fast_demo: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if arguments[0] == "train" and "resnet50" not in arguments:
        arguments = [arguments[0], *fast_demo, *arguments[1:]]
    code, text = failure(arguments, monkeypatch, capsys)
    assert code == 2
    assert expected in text and "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", f"{'a' * 300}.yaml"], "File name too long"),
        (["predict", f"{'a' * 300}.keras", "photo.jpg"], "File name too long"),
        (["data", "check", "--set", "data.source=folders", "--set", "data.root=loop"], "no folder"),
        (["data", "check", "--set", "data.source=csv", "--set", "data.csv=loop"], "no file"),
        (["train", "loop"], "neither a folder, a YAML file nor a shipped config"),
    ],
)
def test_names_too_long_and_links_in_a_circle_are_a_users_mistake(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    code, text = failure(arguments, monkeypatch, capsys)
    assert code == 2
    assert expected in text and len(text.splitlines()) == 1


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(130)])
def test_ctrl_c_says_so_and_exits_as_shells_expect(raised: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    """Typer turns the interrupt into a silent exit."""

    def command() -> None:
        raise raised

    with pytest.raises(SystemExit) as caught:
        run_safely(command)
    assert caught.value.code == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("error", [UserError("no photos"), CheckFailed("NaN"), OSError(28, "No space left on device")])
def test_a_report_that_cannot_be_written_ends_no_training(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from clan_tf import report
    from clan_tf.cli.console import ConsoleProgress
    from clan_tf.cli.train import _write_report

    def fail(run: str, progress: object) -> None:
        raise error

    monkeypatch.setattr(report, "write_report", fail)
    assert _write_report("runs/birds-001", ConsoleProgress()) is None
    assert "Later: clan-tf report runs/birds-001" in capsys.readouterr().err
