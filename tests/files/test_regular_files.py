"""Files of users are regular files, or are refused without waiting and without filling the memory."""

import os
import socket
from pathlib import Path

import pytest

from clan_tf.files import open_regular_file, read_regular_file, require_regular_file
from clan_tf.photos.files import PHOTO_BYTES, read_photo_file


def test_a_regular_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"content")
    (tmp_path / "link.jpg").symlink_to("photo.jpg")
    assert read_photo_file(tmp_path / "photo.jpg") == read_photo_file(tmp_path / "link.jpg") == b"content"


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert read_regular_file(tmp_path / "x", 10) == b""


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a pipe", "link to a device"])
def test_what_may_never_end_is_refused_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has a maximal length
    path, server = Path("x.jpg"), socket.socket(socket.AF_UNIX)
    if "pipe" in kind:
        os.mkfifo("pipe")
        path.symlink_to("pipe") if "link" in kind else Path("pipe").rename(path)
    elif kind == "socket":
        server.bind("x.jpg")
    else:
        path = path if "link" in kind else Path("/dev/zero")
        if "link" in kind:
            path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="isn't a regular file"):
        read_photo_file(path)
    with pytest.raises(OSError, match="isn't a regular file"):
        require_regular_file(path)
    server.close()


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        read_photo_file(tmp_path)


def test_missing_files_and_loops_of_links_keep_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_photo_file(tmp_path / "missing.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(OSError, match="symbolic links"):
        read_photo_file(tmp_path / "loop.jpg")


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(PHOTO_BYTES + 1)
    with pytest.raises(OSError, match=r"is too large: 268\.4 MB, at most 268\.4 MB are read"):
        read_photo_file(tmp_path / "sparse.jpg")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_files_of_the_system_without_a_size_are_empty() -> None:
    assert read_photo_file("/proc/self/maps") == b""


def test_an_opened_file_is_closed_where_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(OSError, match="too large"):
        open_regular_file(tmp_path / "x", 1)
    assert not before or len(os.listdir("/proc/self/fd")) == before
