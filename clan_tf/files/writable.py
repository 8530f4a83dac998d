"""Whether something can be written, found out before it is computed."""

import errno
import tempfile
from pathlib import Path

from clan_tf.errors import UserError
from clan_tf.files.reading import reason_of
from clan_tf.files.regular import existing_parent

_FULL = (errno.ENOSPC, errno.EDQUOT)


def require_file_or_nothing(path: Path) -> None:
    """Raises a `UserError` if a file can't be written to `path`, because a folder or a device is there."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file.")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: isn't a regular file, and is left alone; name a file.")


def require_folder_or_nothing(option: str, folder: Path) -> None:
    """Raises a `UserError` unless `folder` is one that can be written into, or can be made; names the `option`."""
    existing = existing_parent(folder)
    if not existing.is_dir():
        raise UserError(f"{option}: {existing} is a file, but must be a folder. Give another path.")
    if reason := unwritable(existing):
        raise UserError(f"{option}: the folder {existing} can't be written to: {reason}. Give another path.")


def unwritable(folder: Path) -> str | None:
    """Says why no file can be made in a folder, such as `permission denied`; `None` if one can.

    It is tried with a file that has no name or is removed at once: permissions alone don't tell of other systems' disks
    and of read-only ones. A full disk counts as one that can be written to: it may have room again by then.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = reason_of(error)
        return None if error.errno in _FULL else reason[:1].lower() + reason[1:]
    return None
