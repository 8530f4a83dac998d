"""The run that a mistyped path may have meant."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.errors import UserError
from clan_tf.run import nearest_run

RUN = "runs/my-photos-001"


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, a model and an export beside things that are none."""
    monkeypatch.chdir(tmp_path)
    for folder in (RUN, "runs/my-photos-01-notes", f"{RUN}/exports"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for file in (f"{RUN}/config.yaml", f"{RUN}/status.json", f"{RUN}/best.keras", "phone.tflite", "phone.txt"):
        Path(file).touch()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("runs/my-photos-01", RUN),
        ("runs/my-photo-001/", RUN),
        ("run/my-photos-001", RUN),
        ("runs/my-photos-01/best.keras", f"{RUN}/best.keras"),
        ("runs/my-photos-01/last.keras", RUN),
        (f"{RUN}/bst.keras", f"{RUN}/best.keras"),
        ("phone.tflit", "phone.tflite"),
    ],
)
def test_the_closest_run_or_model_is_suggested(given: str, meant: str) -> None:
    assert nearest_run(Path(given), (".keras", ".tflite")) == f" Did you mean {meant}?"


@pytest.mark.parametrize("given", [RUN, "runs", "elsewhere/x", "/nowhere/at/all", "phone.tx", "phone.tflit", "."])
def test_what_exists_or_resembles_no_run_gets_no_suggestion(given: str) -> None:
    assert nearest_run(Path(given)) == ""


@pytest.mark.parametrize(
    "words",
    [
        "predict RUN x.jpg",
        "report RUN",
        "evaluate RUN",
        "calibrate RUN",
        "export RUN --format tflite",
        "explain RUN x.jpg --output new",
        "benchmark exports RUN",
        "train --run-dir RUN --resume",
    ],
)
def test_every_verb_that_takes_a_model_suggests_one(words: str) -> None:
    Path("x.jpg").touch()
    done = CliRunner().invoke(app, words.replace("RUN", "runs/my-photos-01").split())
    assert isinstance(done.exception, UserError)
    assert f"Did you mean {RUN}?" in str(done.exception)


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_an_exported_file_that_is_not_there_is_said_so(verb: str) -> None:
    photo = ["x.jpg"] if verb == "predict" else []
    done = CliRunner().invoke(app, [verb, "phones.tflite", *photo])
    assert str(done.exception).startswith("phones.tflite: no such file or folder. Did you mean phone.tflite?")


def test_a_report_of_nothing_says_that_there_is_no_folder() -> None:
    done = CliRunner().invoke(app, ["report", "elsewhere"])
    assert str(done.exception) == "elsewhere: there is no such folder. Give a run directory."
