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

from clan_tf.errors import UserError, counted
from clan_tf.photos.naming import REASONS, Reason, described, file_reason, folder_reason, is_not_decoded
from clan_tf.text import is_address, printable

OnError = Callable[[OSError], None]
_NAMED = 5
"""How many folders that can't be read are named."""
_KERNELS = ("/dev", "/proc", "/sys")
"""Folders whose files are the kernel's: reading some of them waits forever."""


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

    Photos in folders whose format isn't decoded are left out here; files given by name are tried. So are folders below
    the given ones that can't be listed, such as one that vanishes meanwhile.

    Args:
        paths: files, which are taken as they are, and folders.
        note: called with what is left out of the folders.

    Raises:
        UserError: for a folder without photos, one that is given and can't be listed, or an address.
    """
    photos: list[Path] = []
    unread: list[OSError] = []
    left_out: list[LeftOut] = []
    for path in paths:
        if is_address(path):
            raise UserError(f"{path}: is an address, and only files are read. Download the photo, and give its file.")
        if not os.path.isdir(path):
            photos.append(Path(path))
            continue
        found = _list_given(path, unread.append)
        left_out += found.left_out
        if not found.photos:
            raise UserError(" ".join([f"{path}: has no photos.", *_sentences(found.left_out, unread)]))
        photos += found.photos
    if unread:
        note(f"note: {_unread_note(unread)}")
    if left_out:
        note(f"note: {left_out_note(left_out)}")
    return photos


def list_folder(folder: Path, on_error: OnError | None = None) -> Listing:
    """Lists the photos in a folder and what is left out.

    Args:
        folder: the folder.
        on_error: called with the error of each folder below that can't be listed, which is passed over.

    Raises:
        OSError: if the folder can't be listed or, without `on_error`, one below.
    """
    found = list(_walk(folder, on_error))
    photos = sorted(item for item in found if isinstance(item, Path))
    left_out = sorted((item for item in found if isinstance(item, LeftOut)), key=lambda item: item.path)
    return Listing(tuple(photos), tuple(left_out))


def list_decoded(folder: Path, on_error: OnError | None = None) -> Listing:
    """Lists like `list_folder`, but also leaves out photos whose names say that their format isn't decoded."""
    found = list_folder(folder, on_error)
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


def _sentences(left_out: Sequence[LeftOut], unread: Sequence[OSError]) -> list[str]:
    return [text for text in (left_out_note(left_out), _unread_note(unread)) if text]


def _unread_note(unread: Sequence[OSError]) -> str:
    """Returns one sentence with the folders that couldn't be listed, the first of them by name; empty for none."""
    if not unread:
        return ""
    named = "; ".join(f"{printable(str(error.filename))} ({error.strerror})" for error in unread[:_NAMED])
    more = f"; and {len(unread) - _NAMED:,} more" if len(unread) > _NAMED else ""
    return f"{counted(len(unread), 'folder')} couldn't be read: {named}{more}."


def _list_given(folder: str, on_error: OnError) -> Listing:
    try:
        return list_decoded(Path(folder), on_error)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: can't be read: {error.strerror or error}.") from error


def _walk(folder: Path, on_error: OnError | None = None) -> Iterator[Path | LeftOut]:
    """Yields what is below a folder; real folders come before links, so that none is listed at a link to it."""
    waiting, links = [folder], list[Path]()
    seen: set[tuple[int, int]] = set()
    while waiting or links:
        inner = waiting.pop(0) if waiting else links.pop(0)
        try:
            identity = _identity(inner)
            contents = None if identity in seen else list_contents(inner)
        except OSError as error:
            if on_error is None or inner == folder:
                raise
            on_error(error)
            continue
        if contents is None:  # by a link to it, or into it
            yield LeftOut(str(inner), "repeated")
            continue
        seen.add(identity)
        yield from contents.photos
        yield from contents.left_out
        for each in contents.folders:
            (links if each.is_symlink() else waiting).append(each)


def _reason(entry: os.DirEntry) -> Reason | None:
    if _is_folder(entry):
        return "system" if entry.path in _KERNELS else folder_reason(entry.name)
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
