"""Files and folders that are there whole or not at all."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from clan_tf.errors import UserError
from clan_tf.files import (
    new_folder,
    new_or_filled_folder,
    read_json,
    read_rows,
    replacing,
    write_json,
    write_rows,
    write_text,
)
from clan_tf.files.temporary import UNTOUCHED_SECONDS, temporary_file

HALF = """
import os, signal, sys, time
from pathlib import Path
from clan_tf.files import read_rows
from clan_tf.files import new_folder, replacing
path = Path(sys.argv[1])
with (replacing(path) if sys.argv[2] == "file" else new_folder(path)) as temporary:
    half = temporary if temporary.is_file() else temporary / "half"
    half.write_text("half", encoding="utf-8")
    print("ready", flush=True)
    time.sleep(60)
"""


@contextmanager
def half_written(path: Path, kind: str) -> Iterator[subprocess.Popen]:
    """Another process that is in the middle of writing a file or folder."""
    process = subprocess.Popen([sys.executable, "-c", HALF, str(path), kind], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def partial_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith((".partial-", ".replaced-"))]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "whole")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("other", encoding="utf-8")
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "whole" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_another_process_writes_is_left_alone_until_it_is_dead(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write = {"file": lambda: write_text(path, "whole"), "folder": lambda: new_folder(path, replace=True)}[kind]

    def written() -> None:
        if kind == "file":
            write()
        else:
            with write():
                pass

    with half_written(path, kind):
        written()
        assert len(partial_files(tmp_path)) == 1
    written()
    assert partial_files(tmp_path) == []


def test_what_another_host_writes_is_left_alone_until_it_is_old(tmp_path: Path) -> None:
    """Its locks may not be seen here, and its process numbers say nothing."""
    path = tmp_path / "a.txt"
    with temporary_file(path) as own:
        foreign = own.with_name(f".partial-{'f' * 8}-{own.name.split('-', 2)[2]}")
    foreign.write_text("half", encoding="utf-8")
    write_text(path, "whole")
    assert foreign.exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clan_tf.files.temporary.time.time", lambda: foreign.stat().st_ctime + UNTOUCHED_SECONDS + 1)
        write_text(path, "whole")
    assert not foreign.exists()


@pytest.mark.parametrize("name", [".partial-1-a.txt", ".partial-notes-of-mine-a.txt", ".replaced-1-a.txt"])
def test_a_file_that_is_only_named_alike_is_never_removed(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    os.utime(tmp_path / name, (0, 0))
    write_text(tmp_path / "a.txt", "whole")
    with new_folder(tmp_path / "b"):
        pass
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'ü' * 125}.json"
    write_json(path, [float("nan"), 1.5, {"a": float("inf")}])
    assert json.loads(path.read_text(encoding="utf-8")) == [None, 1.5, {"a": None}]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX systems")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_who_may_read_a_finished_file_or_folder_is_said_by_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file.txt", "text")
        with new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file.txt", "folder")]
    assert rights == [0o666 & ~mask, 0o777 & ~mask]


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "there" / "a.txt")
    write_text(link, "one")
    write_text(link, "two")
    assert link.is_symlink() and (tmp_path / "there" / "a.txt").read_text(encoding="utf-8") == "two"


@pytest.mark.parametrize("path", ["/dev/null", "{folder}", "{folder}/pipe"])
def test_only_regular_files_are_replaced(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    target = Path(path.format(folder=tmp_path))
    with pytest.raises(UserError, match=f"^{target}: is.*name a file"):
        write_text(target, "text")
    assert target.exists() and partial_files(tmp_path) == []


def test_an_error_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught:
        write_text(path, "text")
    assert caught.value.filename == str(path)
    with pytest.raises(OSError) as caught, replacing(tmp_path / "b.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "b.txt")


@dataclass
class Small:
    """What a small file is to hold."""

    name: str
    count: int
    share: float = 0.0


DAMAGED = {
    "empty": b"",
    "cut": b'{"name": "a", "cou',
    "not UTF-8": b'{"name": "\xff", "count": 1}',
    "null bytes": b"\0" * 64,
    "another type": b"[]",
    "a text": b'"name"',
    "a missing key": b'{"name": "a"}',
    "a wrong type": b'{"name": "a", "count": "many"}',
    "NaN": b'{"name": "a", "count": 1, "share": NaN}',
    "too large a number": b'{"name": "a", "count": 1, "share": 1e999}',
    "a long number": b'{"name": "a", "count": ' + b"9" * 5000 + b"}",
    "nesting": b"[" * 200_000,
    "null": b"null",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_json_file_is_named_with_the_way_out(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, Small, "Make it anew.")
    assert str(caught.value).startswith(f"{path}: is damaged (") and str(caught.value).endswith(" Make it anew.")
    assert "\n" not in str(caught.value)


def test_a_json_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.json", "No such file"), (tmp_path, "is a folder")):
        with pytest.raises(UserError, match=f"^{path}: can't be read: .*{reason}.* Make it anew."):
            read_json(path, Small, "Make it anew.")
    write_json(tmp_path / "small.json", {"name": "a", "count": 2})
    assert read_json(tmp_path / "small.json", Small, "") == Small("a", 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no column 'a'"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n3", "2 cells"),
        (b"a,b\n1,2,3\n", "2 cells"),
        (b"b\n1\n", "no column 'a'"),
        (b"a,b\n1,nan\n", "a number isn't finite"),
        (b"a,b\n1,x\n", "could not convert"),
        (b'a,b\n1,"2\n', "unexpected end"),
        (b"a,b\n\xff,2\n", "utf-8"),
        (b"a,b\n1," + b"2" * 200_000 + b"\n", "field larger"),
    ],
)
def test_a_damaged_table_is_named_with_the_way_out(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path}: is damaged \(.*{reason}.*\)\. Make it anew\.$"):
        read_rows(path, ("a", "b"), "Make it anew.", is_number=lambda column: column == "b")


def test_rows_stand_under_their_columns_in_whatever_order_they_come(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_rows(path, [{"epoch": 1, "loss": 0.5}, {"loss": 0.25, "epoch": 2}])
    assert path.read_bytes() == b"epoch,loss\r\n1,0.5\r\n2,0.25\r\n"
    write_rows(path, [], ("class", "photos"))
    assert path.read_bytes() == b"class,photos\r\n"
    with pytest.raises(KeyError, match="loss"):
        write_rows(path, [{"epoch": 1, "loss": 0.5}, {"epoch": 2}])
    assert path.read_bytes() == b"class,photos\r\n"


def test_a_folder_that_was_moved_aside_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.mkdir()
    (path / "old.txt").touch()
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from clan_tf.files import new_folder\n"
        "class Killing(Path(sys.argv[1]).__class__):\n"
        "    def rename(self, target):\n"
        "        os.kill(os.getpid(), signal.SIGKILL) if str(target) == sys.argv[1] else os.rename(self, target)\n"
        "    with_name = lambda self, name: Killing(self.parent / name)\n"
        "with new_folder(Killing(sys.argv[1]), replace=True): pass\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert not path.exists()
    with pytest.raises(UserError, match="exists"), new_folder(path):
        pass
    assert (path / "old.txt").exists()
    with new_folder(path, replace=True) as temporary:
        (temporary / "new.txt").touch()
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export"
    path.mkdir()
    (path / "old.txt").touch()
    rename = Path.rename

    def failing(source: Path, target: Path) -> None:
        if target == path and ".partial" in source.name:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"), new_folder(path, replace=True):
        pass
    assert [file.name for file in path.iterdir()] == ["old.txt"] and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with pytest.raises(UserError, match="can't be made any more"), new_folder(path):
        path.mkdir()
        (path / "mine.txt").touch()
    assert (path / "mine.txt").exists() and list(tmp_path.iterdir()) == [path]


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


def test_an_empty_folder_is_filled_with_everything_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    identity, rename = path.stat().st_ino, Path.rename

    def failing(source: Path, target: Path) -> None:
        if target == path / "b.txt":
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    def fill() -> None:
        with new_or_filled_folder(path) as temporary:
            for name in ("a.txt", "b.txt"):
                (temporary / name).write_text(name, encoding="utf-8")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output"):
        patch.setattr(Path, "rename", failing)
        fill()
    assert list(path.iterdir()) == []
    fill()
    assert sorted(file.name for file in path.iterdir()) == ["a.txt", "b.txt"] and path.stat().st_ino == identity
    with pytest.raises(UserError, match="isn't empty; it holds 'a.txt', 'b.txt'"):
        fill()
    (tmp_path / "new" / "deep").parent.mkdir()
    with new_or_filled_folder(tmp_path / "new" / "deep") as temporary:
        (temporary / "c.txt").touch()
    assert (tmp_path / "new" / "deep" / "c.txt").is_file()


def test_files_behind_links_in_a_new_folder_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may belong to somebody else, and not be writable."""
    (tmp_path / "mine.txt").touch()
    flushed, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (flushed.append(os.fstat(number).st_ino), fsync(number)))
    with new_folder(tmp_path / "folder") as temporary:
        (temporary / "link.txt").symlink_to(tmp_path / "mine.txt")
        (temporary / "own.txt").touch()
    assert flushed == [(tmp_path / "folder" / "own.txt").stat().st_ino]


@pytest.mark.parametrize("is_there", [False, True])
def test_errors_of_files_in_a_new_folder_name_them_as_they_would_be_named(tmp_path: Path, is_there: bool) -> None:
    """As of a full disk: the temporary folder is gone when its name is read."""
    folder = tmp_path / "labels"
    if is_there:
        folder.mkdir()

    def missing(temporary: Path) -> None:
        (temporary / "none" / "labels.csv").touch()

    def moving(temporary: Path) -> None:
        os.rename(temporary / "a.csv", temporary / "b.csv")

    def full_disk(temporary: Path) -> None:
        with replacing(temporary / "labels.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")

    def nameless(temporary: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def elsewhere(temporary: Path) -> None:
        (tmp_path / "other" / "a.csv").touch()

    for write, names in (
        (missing, (folder / "none" / "labels.csv", None)),
        (moving, (folder / "a.csv", folder / "b.csv")),
        (full_disk, (folder / "labels.csv", None)),
        (nameless, (folder, None)),
        (elsewhere, (tmp_path / "other" / "a.csv", None)),
    ):
        with pytest.raises(OSError, match="No s") as caught, new_or_filled_folder(folder) as temporary:
            write(temporary)
        assert (caught.value.filename, caught.value.filename2) == tuple(name and str(name) for name in names)
