"""Whether a folder can be written to is tried, and the system says why it can't."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from clan_tf.errors import UserError
from clan_tf.files import require_folder_or_nothing, unwritable


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Lets no file be made any more, for a reason of the system's."""

    def refused(*arguments: object, **others: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EROFS, "read-only file system"), (errno.EACCES, "permission denied")]
)
def test_the_reason_is_the_systems_own(
    number: int, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuse(monkeypatch, number)
    with pytest.raises(UserError) as caught:
        require_folder_or_nothing("--output", tmp_path / "not" / "yet")
    assert str(caught.value) == f"--output: the folder {tmp_path} can't be written to: {reason}. Give another path."


def test_a_relative_folder_is_named_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    refuse(monkeypatch, errno.EROFS)
    with pytest.raises(UserError, match=f"the folder {tmp_path} can't"):
        require_folder_or_nothing("--csv", Path("."))


def test_a_full_disk_is_not_one_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse(monkeypatch, errno.ENOSPC)
    assert unwritable(tmp_path) is None


def test_trying_leaves_nothing(tmp_path: Path) -> None:
    assert unwritable(tmp_path) is None
    require_folder_or_nothing("--output", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
