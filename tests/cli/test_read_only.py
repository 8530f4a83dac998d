"""Where nothing can be written is said before anything is computed, with the reason and another place to name."""

import errno
import os
import tempfile
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.errors import UserError
from clan_tf.run import RunDirectory


@pytest.fixture(autouse=True)
def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder in which no file can be made."""

    def refused(*arguments: object, **others: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def computed(*arguments: object, **others: object) -> None:
        raise AssertionError("something was computed")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    for module, name in (("export.export", "Comparison"), ("report.report", "read_facts"), ("data", "survey_source")):
        monkeypatch.setattr(import_module(f"clan_tf.{module}"), name, computed)


@pytest.mark.parametrize(
    ("words", "option", "folder"),
    [
        (["data", "check", "demo", "--quarantine", "list.txt"], "--quarantine", "{working}"),
        (["data", "check", "demo", "--samples", "grids"], "--samples", "{working}"),
        (["predict", "RUN", "photo.jpg", "--csv", "o.csv"], "--csv", "{working}"),
        (["search", "demo"], "--search-dir", "{working}"),
        (["evaluate", "RUN"], "--output", "{run}"),
        (["evaluate", "RUN", "--output", "D"], "--output", "{working}"),
        (["report", "RUN"], "--output", "{run}"),
        (["report", "RUN", "--output", "pages/page.html"], "--output", "{working}"),
        (["export", "RUN", "--format", "tflite"], "--output", "{run}"),
        (["export", "RUN", "--format", "saved_model", "--output", "D"], "--output", "{working}"),
        (["reproduce", "table5", "--output", "D"], "--output", "{working}"),
    ],
)
def test_a_read_only_folder_is_named_with_the_option_for_another(
    words: list[str], option: str, folder: str, trained_run: RunDirectory, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, [str(trained_run.path) if word == "RUN" else word for word in words])
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    start, _, rest = str(done.exception).partition(" can't be written to: ")
    assert rest == "read-only file system. Give another path."
    assert start.startswith(f"{option}: the folder {folder.format(working=tmp_path, run=trained_run.path)}")
    assert list(tmp_path.iterdir()) == []
