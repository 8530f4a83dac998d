"""Files and folders that are there whole or not at all."""

import signal
import sys
from pathlib import Path

import pytest

from clan_tf.errors import UserError
from clan_tf.files import new_folder, replacing, write_text


def test_a_file_is_replaced_whole_and_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path, dead, alive = tmp_path / "a.txt", tmp_path / ".partial-4999999-a.txt", tmp_path / ".partial-1-a.txt"
    dead.write_text("half", encoding="utf-8")
    alive.write_text("half", encoding="utf-8")
    write_text(path, "whole")
    assert path.read_text(encoding="utf-8") == "whole"
    assert alive.exists() and not dead.exists()
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("other", encoding="utf-8")
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "whole" and not temporary.exists()


def test_a_new_folder_appears_with_everything_in_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with new_folder(path) as temporary:
        (temporary / "a.txt").write_text("a", encoding="utf-8")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["a.txt"]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(UserError, match="exists"), new_folder(path):
        pass


def test_a_new_folder_that_fails_leaves_nothing_not_even_the_folders_above(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "there" / "deep" / "folder") as temporary:
        (temporary / "a.txt").touch()
        raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_two_processes_that_make_one_folder_do_not_share_their_files(tmp_path: Path) -> None:
    others = tmp_path / ".partial-1-folder"
    others.mkdir()
    left = tmp_path / ".partial-4999999-folder"
    left.mkdir()
    (left / "half").touch()
    with new_folder(tmp_path / "folder") as temporary:
        assert temporary != others
    assert others.exists() and not left.exists()


def test_ctrl_c_within_a_finalizer_still_stops_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reports the exception as ignored, and goes on."""

    class Pressed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    # A shell starts background jobs with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: ignored.append(report.exc_type))
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "deep" / "folder"):
        pressed = Pressed()
        del pressed
    assert ignored == [KeyboardInterrupt]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
