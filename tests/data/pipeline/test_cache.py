"""Caches hold the same photos, and are made anew where anything differs."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config.data import CacheMode
from clan_tf.data import Photo
from clan_tf.data.checked_photos import CheckedPhotos, check_photos
from clan_tf.data.pipeline import View, open_reader
from clan_tf.data.pipeline.cache import CachedReader, decide_cache
from clan_tf.data.sources.cutting import with_digests
from clan_tf.errors import UserError
from clan_tf.progress import Progress
from clan_tf.text import data_size
from helpers.photos import write_photo
from helpers.pipeline import reference


@pytest.mark.parametrize("mode", ["memory", "disk"])
@pytest.mark.parametrize("resize_mode", ["stretch", "keep_aspect"])
def test_a_cache_holds_the_same_photos(
    checked: CheckedPhotos, mode: Any, resize_mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "cache"))
    view = View(24, 32, resize_mode)
    cached = open_reader(checked, view, mode, Progress().track)
    assert isinstance(cached, CachedReader)
    window = tf.function(cached.window)
    for index in range(len(checked.photos)):
        whole = reference(checked, index, view)
        for mirrored in (False, True):
            part = window(*map(tf.constant, (index, "", 1, 2, mirrored))).numpy()
            assert np.abs(part - whole[1:25, 2:26][:, :: -1 if mirrored else 1]).max() < 0.51


def test_a_disk_cache_is_used_again_and_made_anew_for_other_photos(
    colour_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path))
    copy = tmp_path / "a.jpg"
    source = sorted(colour_folders.rglob("*.jpg"))[0]

    def files_after(content: bytes, view: View) -> dict[str, int]:
        if not copy.is_file() or copy.read_bytes() != content:
            copy.write_bytes(content)
        open_reader(check_photos([Photo(str(copy), 0)]), view, "disk", Progress().track)
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pixels")}

    first = files_after(source.read_bytes(), View(24, 32))
    assert len(first) == 1 and not list(tmp_path.glob(".partial*"))
    assert files_after(source.read_bytes(), View(16, 32)) == first
    assert len(files_after(source.read_bytes(), View(24, 30))) == 2
    assert len(files_after(source.read_bytes() + b"\0", View(24, 32))) == 3


def entry_of(checked: CheckedPhotos, view: View, folder: Path) -> Path:
    open_reader(checked, view, "disk", Progress().track)
    (entry,) = folder.glob("*.pixels")
    return entry


@pytest.mark.parametrize("damage", ["a bit", "cut", "longer", "empty", "zeros", "a folder of that name is no cache"])
def test_a_disk_cache_that_is_not_as_it_was_written_is_made_anew(
    damage: str, checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path))
    view = View(24, 32)
    entry = entry_of(checked, view, tmp_path)
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[1000] ^= 1
    contents = {"a bit": bytes(flipped), "cut": whole[:-1], "longer": whole + b"\0", "empty": b""}
    if damage.startswith("a folder"):
        entry.unlink()
        entry.mkdir()
        with pytest.raises(UserError, match="is a folder"):
            open_reader(checked, view, "disk", Progress().track)
        return
    entry.write_bytes(contents.get(damage, bytes(len(whole))))
    open_reader(checked, view, "disk", Progress().track)
    assert entry.read_bytes() == whole


def test_a_disk_cache_is_keyed_by_the_content_of_the_photos(
    colour_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal names, sizes and times with other pictures are other photos; other names with the same pictures aren't."""
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "cache"))
    first, second = (path.read_bytes() for path in sorted(colour_folders.rglob("*.jpg"))[:2])
    length = max(len(first), len(second))
    entries = []
    for name, content in (("a.jpg", first), ("a.jpg", second), ("b.jpg", first)):
        path = tmp_path / name
        path.write_bytes(content + b"\0" * (length - len(content)))
        os.utime(path, (1, 1))
        open_reader(check_photos([Photo(str(path), 0)]), View(24, 32), "disk", Progress().track)
        entries.append(len(list((tmp_path / "cache").iterdir())))
    assert entries == [1, 2, 2]


def test_a_disk_cache_is_read_whatever_becomes_of_its_file(
    checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may clear or replace it."""
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path))
    view = View(24, 32)
    cached = open_reader(checked, view, "disk", Progress().track)
    before = cached.centre(tf.constant(1), tf.constant("")).numpy()
    (entry,) = tmp_path.glob("*.pixels")
    other = tmp_path / "other"
    other.write_bytes(bytes(entry.stat().st_size))
    other.replace(entry)
    np.testing.assert_array_equal(cached.centre(tf.constant(1), tf.constant("")).numpy(), before)


def test_a_cache_folder_that_cannot_be_written_or_found_is_the_users_mistake(
    checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"data.cache: .*file/cache can't be written: .*Set CLAN_TF_CACHE"):
        open_reader(checked, View(24, 32), "disk", Progress().track)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))  # as in /proc
    with pytest.raises(UserError, match=r"data.cache: .*file/cache can't be written: .*Set CLAN_TF_CACHE"):
        decide_cache([checked], View(24, 32), "disk", uses=2)
    monkeypatch.delenv("CLAN_TF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", os.devnull)
    with pytest.raises(UserError, match="data.cache: there is no home folder"):
        decide_cache([checked], View(24, 32), "disk", uses=2)


def test_auto_caches_only_what_is_used_again_and_fits(checked: CheckedPhotos, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(24, 32)
    assert decide_cache([checked, checked], view, "auto", uses=1) == "none"
    assert decide_cache([checked, checked], view, "auto", uses=2) == "memory"
    assert decide_cache([checked], view, "disk", uses=1) == "disk"
    needed = len(checked.photos) * 32 * 32 * 3
    monkeypatch.setattr("clan_tf.data.pipeline.cache.available_memory", lambda: 5 * needed)
    assert decide_cache([checked], view, "auto", uses=2) == "memory"
    assert decide_cache([checked, checked], view, "auto", uses=2) == "none"
    monkeypatch.setattr("clan_tf.data.pipeline.cache.available_memory", lambda: 10_000)
    with pytest.raises(UserError, match="data.cache.*memory has 10.0 kB free"):
        decide_cache([checked], view, "memory", uses=1)


def test_a_disk_without_room_is_told_before_anything_is_written(
    checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "cache"))
    view = View(24, 32)
    needed = len(checked.photos) * 32 * 32 * 3
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    sizes = f"the decoded photos fill {data_size(needed)} and the disk has {data_size(needed - 1)} free"
    with pytest.raises(UserError, match=f"data.cache: {sizes}"):
        decide_cache([checked], view, "disk", uses=1)
    assert list(tmp_path.iterdir()) == []
    open_reader(checked, view, "disk", Progress().track)
    assert decide_cache([checked], view, "disk", uses=1) == "disk", "what is there already needs no room"


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_a_photo_that_changes_after_its_check_is_refused_and_never_cached(
    mode: CacheMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "cache"))
    photos = [tmp_path / "0.png", tmp_path / "1.png"]
    for path in photos:
        write_photo(path, (10, 0, 0))
    checked = check_photos([Photo(str(path), 0) for path in photos])
    write_photo(photos[1], (30, 0, 0))
    with pytest.raises(UserError, match=f"{photos[1]}: changed since it was checked"):
        open_reader(checked, View(24, 32), mode, Progress().track)
    assert list((tmp_path / "cache").glob("*")) == []


def test_a_digest_is_of_the_bytes_that_were_checked(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    write_photo(path, (10, 0, 0))
    (listed,) = with_digests([Photo(str(path), 0)])
    write_photo(path, (30, 0, 0))
    (digest,) = check_photos([listed]).digests
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() != listed.digest
