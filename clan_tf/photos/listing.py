"""Which files are photos: one listing for training, `predict` and `explain`.

Whatever lies in a folder, at any depth, is a photo or is left out for a reason that is counted:

- Hidden files and folders (`.x`, `._a.jpg`) and those of systems (`@eaDir`, `__MACOSX`, `Thumbs.db`) aren't used.
- Documents are recognised by their suffix. A file of any other name, or without a suffix, is a photo; its content
  decides how it is decoded. A link that leads nowhere is a broken photo.
- Pipes, sockets and devices are never opened.
- Links to folders are followed, wherever they lead, except to a folder that is already listed or that contains the
  link itself.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clan_tf.errors import UserError
from clan_tf.photos.naming import REASONS, Reason, described, file_reason, folder_reason, is_not_decoded
from clan_tf.text import printable


@dataclass(frozen=True)
class LeftOut:
    """A file or folder among photos that isn't used.

    Attributes:
        path: where it is.
        reason: why it isn't used.
        files: how many files it stands for: 1, or those in the folder.
        is_folder: whether it is a folder that is left out regardless of its contents.
    """

    path: str
    reason: Reason
    files: int = 1
    is_folder: bool = False


@dataclass(frozen=True)
class Listing:
    """The contents of a folder, at any depth, sorted.

    Attributes:
        photos: the files that are photos.
        left_out: everything else.
    """

    photos: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Contents:
    """The direct contents of a folder, sorted.

    Attributes:
        folders: those that may hold photos, links to folders among them.
        photos: the files that are photos.
        left_out: everything else.
    """

    folders: tuple[Path, ...]
    photos: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


def list_photos(paths: Sequence[str], note: Callable[[str], None] = lambda text: None) -> list[Path]:
    """Lists the files given, and the photos in the folders given.

    Photos in folders whose format isn't decoded are left out here; files given by name are tried.

    Args:
        paths: files, which are taken as they are, and folders.
        note: called with what is left out of the folders.

    Raises:
        UserError: for a folder without photos, or one that can't be listed.
    """
    photos: list[Path] = []
    left_out: list[LeftOut] = []
    for path in paths:
        if not os.path.isdir(path):
            photos.append(Path(path))
            continue
        found = _list_given(path)
        left_out += found.left_out
        if not found.photos:
            raise UserError(f"{path}: has no photos. {left_out_note(found.left_out)}".rstrip())
        photos += found.photos
    if left_out:
        note(f"note: {left_out_note(left_out)}")
    return photos


def list_folder(folder: Path) -> Listing:
    """Lists the photos in a folder and what is left out; raises an `OSError` if it or one below can't be listed."""
    found = list(_walk(folder))
    photos = sorted(item for item in found if isinstance(item, Path))
    left_out = sorted((item for item in found if isinstance(item, LeftOut)), key=lambda item: item.path)
    return Listing(tuple(photos), tuple(left_out))


def list_decoded(folder: Path) -> Listing:
    """Lists like `list_folder`, but also leaves out photos whose names say that their format isn't decoded."""
    found = list_folder(folder)
    skipped = {path for path in found.photos if is_not_decoded(path)}
    left_out = tuple(LeftOut(str(path), "not_decoded") for path in sorted(skipped))
    return Listing(tuple(path for path in found.photos if path not in skipped), found.left_out + left_out)


def list_contents(folder: Path) -> Contents:
    """Lists the direct contents of a folder; raises an `OSError` if it can't be listed."""
    folders, photos, left_out = [], [], []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path, reason = Path(entry.path), _reason(entry)
            if _is_folder(entry):
                if reason:
                    left_out += _whole_folder(path, reason)
                elif entry.is_symlink() and _leads_around(path):
                    left_out.append(LeftOut(entry.path, "repeated"))
                else:
                    folders.append(path)
            elif reason:
                left_out.append(LeftOut(entry.path, reason))
            else:
                photos.append(path)
    return Contents(tuple(folders), tuple(photos), tuple(left_out))


def holds_photos(folder: Path) -> bool:
    """Checks whether there is a photo in a folder, at any depth; stops at the first."""
    return any(isinstance(item, Path) for item in _walk(folder))


def left_out_counts(left_out: Iterable[LeftOut]) -> dict[str, int]:
    """Counts how many files are left out, by reason."""
    counts: dict[str, int] = {}
    for item in left_out:
        counts[item.reason] = counts.get(item.reason, 0) + item.files
    return counts


def left_out_note(left_out: Sequence[LeftOut]) -> str:
    """Returns one sentence: how many files and folders are left out, why, and an example of each; empty for none."""
    parts = []
    for reason in REASONS:
        items = [item for item in left_out if item.reason == reason]
        if items:
            folders = [item for item in items if item.is_folder]
            inside = sum(item.files for item in folders)
            text = described(reason, sum(item.files for item in items) - inside, len(folders), inside)
            parts.append(f"{text}, such as {printable(items[0].path)}")
    return f"Left out: {'; '.join(parts)}." if parts else ""


def _list_given(folder: str) -> Listing:
    try:
        return list_decoded(Path(folder))
    except OSError as error:
        raise UserError(f"{error.filename or folder}: can't be read: {error.strerror or error}.") from error


def _walk(folder: Path) -> Iterator[Path | LeftOut]:
    """Yields what is below a folder; real folders come before links, so that none is listed at a link to it."""
    waiting, seen = [folder], {_identity(folder)}
    links: list[Path] = []
    while waiting or links:
        if not waiting:
            link = links.pop(0)
            identity = _identity(link)
            if identity in seen:
                yield LeftOut(str(link), "repeated")
                continue
            seen.add(identity)
            waiting.append(link)
        contents = list_contents(waiting.pop(0))
        yield from contents.photos
        yield from contents.left_out
        for inner in contents.folders:
            if inner.is_symlink():
                links.append(inner)
            elif _identity(inner) in seen:  # by a link into it
                yield LeftOut(str(inner), "repeated")
            else:
                seen.add(_identity(inner))
                waiting.append(inner)


def _reason(entry: os.DirEntry) -> Reason | None:
    if _is_folder(entry):
        return folder_reason(entry.name)
    return file_reason(entry.name) or ("special" if _is_special(entry) else None)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_special(entry: os.DirEntry) -> bool:
    """Checks whether an entry exists and isn't a file; the check of photos reports what can't be inspected."""
    try:
        if entry.is_file(follow_symlinks=False):  # which makes no system call
            return False
        return not stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return False


def _leads_around(link: Path) -> bool:
    """Checks whether a link leads to a folder that contains it."""
    return Path(os.path.realpath(link.parent)).is_relative_to(os.path.realpath(link))


def _whole_folder(folder: Path, reason: Reason) -> list[LeftOut]:
    """Returns a folder that isn't searched, with the number of its files; nothing if it has none."""
    unread: list[OSError] = []
    files = sum(len(names) for _, _, names in os.walk(folder, onerror=unread.append))
    return [LeftOut(str(folder), reason, files, is_folder=True)] if files or unread else []


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
