"""Decoded and resized photos, kept in memory or on disk, so that each is decoded once for the whole run.

Either way it is one file of raw pixels that TensorFlow maps into memory: a file without a name, which vanishes with the
process, or one in the user's cache folder, which later runs on the same photos use again.

A file in the cache folder is named by the content of its photos and ends with a SHA-256 of its pixels, which is
verified when it is opened; a file that has changed since it was written is recreated. Any number of processes, hosts
and containers may share the folder without locks: each writes a file of its own, which replaces the other once
complete.

A window of a cached photo is cut from the whole resized photo, and in training a `PhotoReader` resizes the window
alone: here and there a value is rounded to the neighbouring level.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import PIL
import tensorflow as tf

from clan_tf.config.data import CacheMode
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline.free_memory import available_memory
from clan_tf.data.pipeline.reading import IndexOf, PhotoReader, View, centre_corner, full_sizes, without_autograph
from clan_tf.data.pipeline.resizing import mirror
from clan_tf.errors import UserError
from clan_tf.files import existing_parent, replacing, unwritable
from clan_tf.files.temporary import remove_all_leftovers
from clan_tf.text import data_size

Track = Callable[[str, int], AbstractContextManager[Callable[..., None]]]
MEMORY_SHARE = 3
"""`auto` takes memory if the photos fill at most this part of what is free."""
LAYOUT = "pixels 2"
"""Must change with anything that changes the pixels or their layout in the file."""
_DECODERS = (tf.__version__, PIL.__version__)
_CHECKSUM_BYTES = 32
_BLOCK = 1 << 24
_WAY_OUT = "Set CLAN_TF_CACHE to another folder, or use --set data.cache=none."


class CachedReader:
    """A `Reader` of photos that are decoded already.

    Args:
        path: the file of raw pixels.
        sizes: height and width of each resized photo, int `(photos, 2)`.
        view: how large a window is.
        file: the open file behind `path`, which lives as long as that is open; it is closed with the reader.
    """

    def __init__(self, path: str, sizes: np.ndarray, view: View, file: IO[bytes]) -> None:
        self.view = view
        self._path = path
        # TensorFlow opens the path for every read.
        weakref.finalize(self, file.close)
        lengths = 3 * sizes.astype("int64").prod(axis=1)
        self._bytes = int(lengths.sum())
        self._starts = tf.constant(np.cumsum(lengths) - lengths)
        self._sizes = tf.constant(sizes.astype("int32"))

    def full_lengths(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Looks up height and width of the cached photo `index`, int32."""
        height, width = tf.unstack(self._sizes[index])
        return height, width

    def encoded(self, numbers: tf.data.Dataset, index_of: IndexOf) -> tf.data.Dataset:
        """Pairs each number with an empty string: nothing is decoded again."""
        return numbers.map(without_autograph(lambda number: (number, "")))

    def window(
        self, index: tf.Tensor, content: tf.Tensor, top: tf.Tensor, left: tf.Tensor, mirrored: tf.Tensor | bool = False
    ) -> tf.Tensor:
        """Cuts a window of the cached photo `index`: uint8 RGB `(image_size, image_size, 3)`."""
        size, width = self.view.image_size, self._sizes[index, 1]
        pixels = tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[self._bytes], memory_region_name=self._path)
        start = self._starts[index] + 3 * tf.cast(top * width, tf.int64)
        rows = tf.slice(pixels, [start], [3 * size * tf.cast(width, tf.int64)])
        window = tf.reshape(rows, (size, width, 3))[:, left : left + size]
        return mirror(tf.ensure_shape(window, (size, size, 3)), mirrored)

    def centre(self, index: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        """Cuts the window in the middle of the cached photo `index`."""
        return self.window(index, content, *centre_corner(self, index))


def decide_cache(splits: Sequence[CheckedPhotos], view: View, mode: CacheMode, uses: int) -> CacheMode:
    """Decides where photos that are used `uses` times are kept: resolves `"auto"`, or returns the mode asked for.

    `"auto"` means in memory if they are used more than once and all fit into a third of what is free.

    Raises:
        UserError: if they don't fit into the memory or onto the disk asked for.
    """
    needed = [_pixel_bytes(full_sizes(checked, view)) for checked in splits]
    if mode == "auto":
        return "memory" if uses > 1 and sum(needed) <= available_memory() // MEMORY_SHARE else "none"
    if mode == "memory":
        _require_room("memory", sum(needed), available_memory())
    if mode == "disk":
        missing = [
            size
            for checked, size in zip(splits, needed, strict=True)
            if not _has_size(_cache_file(checked, view), size)
        ]
        if missing:
            _require_writable(cache_folder())
        _require_room("disk", sum(missing), _free_disk(cache_folder()))
    return mode


def open_reader(checked: CheckedPhotos, view: View, mode: CacheMode, track: Track) -> PhotoReader | CachedReader:
    """Returns a reader of photos that are kept as `mode` says; decodes them first, unless the disk has them already.

    Args:
        checked: the photos.
        view: to what they are resized.
        mode: as returned by `decide_cache`.
        track: shows progress, as `Progress.track` does.

    Raises:
        UserError: if the photos can't be written to the disk asked for, or one has changed since it was checked.
    """
    plain = PhotoReader(checked, view)
    sizes = full_sizes(checked, view)
    needed = _pixel_bytes(sizes)
    if mode == "none":
        return plain
    if mode == "memory":
        unnamed, name = _unnamed_file()
        with ExitStack() as unless_written:
            unless_written.callback(unnamed.close)
            _write_pixels(plain, checked, unnamed, track)
            unless_written.pop_all()
        return CachedReader(name, sizes, view, unnamed)
    path = _cache_file(checked, view)
    remove_all_leftovers(path.parent)  # they may be large, and the same photos may never be used again
    file = _opened(path, needed)
    if not file:
        _write_file(plain, checked, path, track)
        file = _opened(path, needed)
    if not file:
        raise UserError(f"data.cache: {path} isn't as it was just written; the disk is damaged. {_WAY_OUT}")
    return CachedReader(_path_of(file) or str(path), sizes, view, file)


def cache_folder() -> Path:
    """Returns where `cache: disk` keeps pixels: `$CLAN_TF_CACHE`, or `clan-tf` in the user's cache folder.

    Raises:
        UserError: if the user has no home, and so no cache folder.
    """
    own, general = os.environ.get("CLAN_TF_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    if general:
        return Path(general) / "clan-tf"
    home = Path(os.path.expanduser("~"))
    if not home.is_dir():
        raise UserError(f"data.cache: there is no home folder for a cache on disk. {_WAY_OUT}")
    return home / ".cache" / "clan-tf"


def _pixel_bytes(sizes: np.ndarray) -> int:
    return int(3 * sizes.astype("int64").prod(axis=1).sum())


def _cache_file(checked: CheckedPhotos, view: View) -> Path:
    return cache_folder() / f"{_fingerprint(checked, view)}.pixels"


def _has_size(path: Path, needed: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == needed + _CHECKSUM_BYTES
    except OSError:
        return False


def _opened(path: Path, needed: int) -> IO[bytes] | None:
    """Returns the cached pixels, if they exist and are unchanged since they were written."""
    if not _has_size(path, needed):
        return None
    try:
        file = path.open("rb")
        if _is_as_written(file, needed):
            return file
    except OSError:  # treated as missing
        return None
    file.close()
    return None


def _is_as_written(file: IO[bytes], needed: int) -> bool:
    digest, left = hashlib.sha256(), needed
    while left:
        block = file.read(min(left, _BLOCK))
        if not block:
            return False
        digest.update(block)
        left -= len(block)
    return file.read() == digest.digest()


def _write_file(reader: PhotoReader, checked: CheckedPhotos, path: Path, track: Track) -> None:
    """Writes the pixels and their checksum whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            digest = _write_pixels(reader, checked, file, track)
            file.write(digest)
    except OSError as error:
        raise UserError(f"data.cache: {path.parent} can't be written: {error.strerror or error}. {_WAY_OUT}") from error


def _write_pixels(reader: PhotoReader, checked: CheckedPhotos, file: IO[bytes], track: Track) -> bytes:
    """Writes every resized photo; returns the SHA-256 of all pixels.

    Raises:
        UserError: if a photo isn't what was checked.
    """
    digest = hashlib.sha256()
    with track("decoding photos, once for all epochs", len(checked.photos)) as advance:
        contents = reader.wholes(with_contents=True).prefetch(16)
        for photo, expected, (content, image) in zip(checked.photos, checked.digests, contents, strict=True):
            if hashlib.sha256(content.numpy()).hexdigest() != expected:
                raise UserError(
                    f"{photo.name}: changed since it was checked, a moment ago. Start again when nothing writes to the "
                    "photos any more."
                )
            pixels = image.numpy().data
            digest.update(pixels)
            file.write(pixels)
            advance()
    file.flush()
    return digest.digest()


def _unnamed_file() -> tuple[IO[bytes], str]:
    """Returns a new writable file and its path: in memory, or on disk where the system has no such files."""
    try:
        file = open(os.memfd_create("clan-tf"), "wb")
        if path := _path_of(file):
            return file, path
        file.close()
    except (AttributeError, OSError):
        pass
    temporary = tempfile.NamedTemporaryFile()
    return temporary, temporary.name


def _path_of(file: IO[bytes]) -> str | None:
    """Returns a path to an open file that stays valid when its name changes, where the system has such paths."""
    path = f"/proc/self/fd/{file.fileno()}"
    return path if os.path.exists(path) else None


def _fingerprint(checked: CheckedPhotos, view: View) -> str:
    """Names everything that the pixels depend on: the content of the photos, boxes, orientations, the view."""
    digest = hashlib.sha256(repr((LAYOUT, _DECODERS, view.full_size, view.mode)).encode())
    for content, orientation, window in zip(checked.digests, checked.orientations, checked.windows, strict=True):
        digest.update(repr((content, int(orientation), window.tolist())).encode())
    return digest.hexdigest()[:32]


def _require_room(kind: str, needed: int, free: int) -> None:
    if needed > free:
        raise UserError(
            f"data.cache: the decoded photos fill {data_size(needed)} and the {kind} has {data_size(free)} free. "
            "Use --set data.cache=none."
        )


def _require_writable(folder: Path) -> None:
    """Raises a `UserError` unless files can be made in a folder, or the folder itself can."""
    existing = existing_parent(folder)
    if reason := unwritable(existing):
        raise UserError(f"data.cache: {folder} can't be written: {reason}. {_WAY_OUT}")


def _free_disk(folder: Path) -> int:
    try:
        return shutil.disk_usage(existing_parent(folder)).free
    except OSError:  # unknown; writing will show
        return sys.maxsize
