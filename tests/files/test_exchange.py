"""Files that belong together are exchanged together: the former ones stay until all new ones are written."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from clan_tf.errors import UserError
from clan_tf.files import exchanged_files, write_text

NAMES = ("metrics.json", "levels.csv", "predictions.csv")
FORMER, NEW = dict.fromkeys(NAMES, "former"), {"metrics.json": "new", "predictions.csv": "new"}


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}


def exchange(folder: Path) -> None:
    with exchanged_files(folder, NAMES) as new:
        for name, text in NEW.items():
            write_text(new / name, text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    for name, text in FORMER.items():
        write_text(folder / name, text)
    return folder


def test_new_files_take_the_places_of_the_former_and_others_stay(folder: Path) -> None:
    write_text(folder / "mine.txt", "mine")
    exchange(folder)
    assert content(folder) == NEW | {"mine.txt": "mine"}
    assert sorted(os.listdir(folder)) == sorted([*NEW, "mine.txt"])


def test_on_a_full_disk_the_former_files_stay(folder: Path) -> None:
    with pytest.raises(OSError) as caught, exchanged_files(folder, NAMES) as new:
        write_text(new / "metrics.json", "new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new / "predictions.csv"))
    assert caught.value.filename == str(folder / "predictions.csv")
    assert content(folder) == FORMER and len(os.listdir(folder)) == len(NAMES)


def test_a_folder_that_fails_is_not_there_nor_its_parents(tmp_path: Path) -> None:
    with pytest.raises(OSError), exchanged_files(tmp_path / "new" / "test", NAMES):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []
    exchange(tmp_path / "new" / "test")
    assert content(tmp_path / "new" / "test") == NEW


@pytest.mark.parametrize("after", range(5))
def test_a_kill_leaves_the_former_the_new_or_recognisably_neither(
    after: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(5))

    def counted(step: Callable[..., object]) -> Callable[..., object]:
        def stepping(path: Path, *others: Path, **options: object) -> object:
            in_exchange = folder in (path.parent, *(other.parent for other in others))
            if in_exchange and next(steps) == after:
                raise SystemExit("killed")
            return step(path, *others, **options)

        return stepping

    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    try:
        exchange(folder)
    except SystemExit:
        pass
    monkeypatch.undo()
    found = content(folder)
    assert found in (FORMER, NEW) or NAMES[-1] not in found
    exchange(folder)
    assert content(folder) == NEW


def test_a_disk_too_full_for_the_folder_is_not_taken_for_a_wrong_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, mode: int = 0o777) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(OSError, match="No space left") as caught:
        exchange(tmp_path / "new")
    assert caught.value.filename == str(tmp_path / "new") and list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "levels.csv").unlink()
    (folder / "levels.csv").mkdir()
    with pytest.raises(UserError, match="levels.csv: is a folder"):
        exchange(folder)
    assert content(folder) == {name: "former" for name in NAMES if name != "levels.csv"}
