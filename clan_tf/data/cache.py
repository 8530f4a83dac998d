"""Decoded and resized photos, kept in memory or on disk, so that each is decoded once for the whole run.

Either way it is one file of raw pixels that TensorFlow maps into memory: a file without a name, which vanishes with the
process, or one in the user's cache folder, which later runs on the same photos use again.

A window of a cached photo is cut from the whole resized photo, and in training a `PhotoReader` resizes the window
alone: here and there a value is rounded to the neighbouring level.
"""

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import numpy as np
import tensorflow as tf

from clan_tf.config import CacheMode
from clan_tf.data.photos import CheckedPhotos
from clan_tf.data.reading import IndexOf, PhotoReader, View, centre_corner, full_sizes
from clan_tf.data.resizing import mirror
from clan_tf.errors import UserError
from clan_tf.files import replacing

Track = Callable[[str, int], AbstractContextManager[Callable[..., None]]]
MEMORY_SHARE = 3
"""`auto` takes memory if the photos fill at most this part of what is free."""


class CachedReader:
    """A `Reader` of photos that are decoded already.

    Args:
        path: the file of raw pixels.
        sizes: height and width of each resized photo, int `(photos, 2)`.
        view: how large a window is.
        file: the open file behind `path`, where that lives only as long as the file is open; it is closed with the
            reader.
    """

    def __init__(self, path: str, sizes: np.ndarray, view: View, file: IO[bytes] | None = None) -> None:
        self.view = view
        self._path = path
        if file:
            # TensorFlow opens the path for every read.
            weakref.finalize(self, file.close)
        lengths = 3 * sizes.astype("int64").prod(axis=1)
        self._bytes = int(lengths.sum())
        self._starts = tf.constant(np.cumsum(lengths) - lengths)
        self._sizes = tf.constant(sizes.astype("int32"))

    def full_lengths(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        height, width = tf.unstack(self._sizes[index])
        return height, width

    def encoded(self, numbers: tf.data.Dataset, index_of: IndexOf) -> tf.data.Dataset:
        return numbers.map(lambda number: (number, ""))

    def window(
        self, index: tf.Tensor, content: tf.Tensor, top: tf.Tensor, left: tf.Tensor, mirrored: tf.Tensor | bool = False
    ) -> tf.Tensor:
        size, width = self.view.image_size, self._sizes[index, 1]
        pixels = tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[self._bytes], memory_region_name=self._path)
        start = self._starts[index] + 3 * tf.cast(top * width, tf.int64)
        rows = tf.slice(pixels, [start], [3 * size * tf.cast(width, tf.int64)])
        window = tf.reshape(rows, (size, width, 3))[:, left : left + size]
        return mirror(tf.ensure_shape(window, (size, size, 3)), mirrored)

    def centre(self, index: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        return self.window(index, content, *centre_corner(self, index))


def decide_cache(splits: Sequence[CheckedPhotos], view: View, mode: CacheMode, uses: int) -> CacheMode:
    """Where photos that are used `uses` times are kept: what `"auto"` stands for, or the mode that is asked for.

    In memory if they are used more than once and all fit into a third of what is free.

    Raises:
        UserError: if they don't fit into the memory or onto the disk that is asked for.
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
            if not _is_whole(_cache_file(checked, view), size)
        ]
        _require_room("disk", sum(missing), _free_disk(cache_folder()))
    return mode


def open_reader(checked: CheckedPhotos, view: View, mode: CacheMode, track: Track) -> PhotoReader | CachedReader:
    """A reader of photos that are kept as `mode` says; decodes them first, unless the disk has them already.

    Args:
        checked: the photos.
        view: to what they are resized.
        mode: of `decide_cache`.
        track: shows progress, as `Progress.track` does.
    """
    plain = PhotoReader(checked, view)
    sizes = full_sizes(checked, view)
    needed = _pixel_bytes(sizes)
    if mode == "none":
        return plain
    if mode == "memory":
        file, path = _unnamed_file()
        _write_pixels(plain, len(sizes), file, track)
        return CachedReader(path, sizes, view, file)
    path = _cache_file(checked, view)
    if not _is_whole(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as new_file:
            _write_pixels(plain, len(sizes), new_file, track)
    return CachedReader(str(path), sizes, view)


def cache_folder() -> Path:
    """Where `cache: disk` keeps pixels: `$CLAN_TF_CACHE`, or `clan-tf` in the user's cache folder."""
    own = os.environ.get("CLAN_TF_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "clan-tf"


def available_memory() -> int:
    """Bytes of memory that can be taken without swapping, within the container's limit if there is one."""
    limits = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            limits.append(1024 * int(line.split()[1]))
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and limit[0].isdigit() and used:
        # Pages of files that nobody uses now count as used, and are given up when memory is wanted.
        given_up = dict(line.split() for line in _lines("/sys/fs/cgroup/memory.stat")).get("inactive_file", 0)
        limits.append(int(limit[0]) - int(used[0]) + int(given_up))
    # Systems without /proc tell only how much there is in all.
    return max(0, min(limits, default=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))


def _pixel_bytes(sizes: np.ndarray) -> int:
    return int(3 * sizes.astype("int64").prod(axis=1).sum())


def _cache_file(checked: CheckedPhotos, view: View) -> Path:
    return cache_folder() / f"{_fingerprint(checked, view)}.pixels"


def _is_whole(path: Path, needed: int) -> bool:
    return path.is_file() and path.stat().st_size == needed


def _write_pixels(reader: PhotoReader, photos: int, file: IO[bytes], track: Track) -> None:
    with track("decoding photos, once for all epochs", photos) as advance:
        for image in reader.wholes().prefetch(16):
            file.write(image.numpy().data)
            advance()
    file.flush()


def _unnamed_file() -> tuple[IO[bytes], str]:
    """A writable file in memory and a path to it; where the system has no such files, a temporary one on disk."""
    if hasattr(os, "memfd_create"):
        file = open(os.memfd_create("clan-tf"), "wb")  # noqa: SIM115
        return file, f"/proc/self/fd/{file.fileno()}"
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    return file, file.name


def _fingerprint(checked: CheckedPhotos, view: View) -> str:
    """Names everything that the pixels depend on: files with their sizes and times, boxes, orientations, the view."""
    digest = hashlib.sha256(repr((view.full_size, view.mode, "pixels 1")).encode())
    stamps: dict[str, tuple[int, int]] = {}
    for photo, orientation, window in zip(checked.photos, checked.orientations, checked.windows, strict=True):
        stamp: object = photo.content and hashlib.sha256(photo.content).hexdigest()
        if photo.content is None:
            file = photo.span.file if photo.span else photo.name
            if file not in stamps:
                status = tf.io.gfile.stat(file)
                stamps[file] = (status.length, status.mtime_nsec)
            stamp = (photo.span, stamps[file])
        digest.update(repr((photo.name, stamp, int(orientation), window.tolist())).encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _require_room(kind: str, needed: int, free: int) -> None:
    if needed > free:
        raise UserError(
            f"data.cache: the decoded photos fill {needed / 1e9:.2f} GB and the {kind} has {free / 1e9:.2f} GB free. "
            "Use --set data.cache=none."
        )


def _free_disk(folder: Path) -> int:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
