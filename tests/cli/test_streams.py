"""The command line with streams that are closed, full, or of another encoding, and without a home or a folder."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clan_tf.cli.console import ConsoleProgress, print_json
from clan_tf.cli.streams import Unfailing

COMMAND = [sys.executable, "-m", "clan_tf.cli.main"]


def shell(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """What a shell makes of a line, in which `clan-tf` is the command."""
    line = f"clan-tf() {{ '{sys.executable}' -m clan_tf.cli.main \"$@\"; }}; {text}"
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_matter(closed: str, tmp_path: Path) -> None:
    done = shell(f"clan-tf --version {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "from clan_tf.cli.streams import prepare_streams; prepare_streams(); "
        "number = open('a.txt', 'w').fileno(); open('number', 'w').write(str(number))"
    )
    done = shell(f"'{sys.executable}' -c \"{code}\" <&- >&- 2>&-", tmp_path)
    assert done.returncode == 0 and int((tmp_path / "number").read_text(encoding="utf-8")) > 2


def test_a_reader_that_goes_away_ends_the_command_as_shells_have_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "--version"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_onto_a_full_disk_ends_with_one_sentence(tmp_path: Path) -> None:
    done = shell("clan-tf --version > /dev/full", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"clan-tf: the output.*: No space left on device\n", done.stderr)


def test_a_deleted_working_folder_is_told(tmp_path: Path) -> None:
    done = shell("mkdir a; cd a; rmdir ../a; clan-tf --version", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "clan-tf: The working folder no longer exists. Change to one that does: cd.\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"label": "grün, 绿", "name": os.fsdecode(b"a\xff.jpg"), "share": float("nan")}
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    print_json(value)
    stdout.flush()
    assert json.loads(stdout.buffer.getvalue().decode(encoding)) == {**value, "share": None}


def test_messages_whose_reader_is_gone_do_not_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        progress = ConsoleProgress()
        for _ in range(3):
            progress.note("still working")
        with progress.track("decoding", 2) as advance:
            advance()
        assert Unfailing(stream).write("more") == 4
