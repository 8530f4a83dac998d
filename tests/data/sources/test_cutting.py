"""Photos are cut off for validation and testing by their content, so that nothing else moves them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clan_tf.data import Photo
from clan_tf.data.sources.cutting import cut, places_by_content, with_digests
from clan_tf.data.sources.selection import take_fraction


def drawn(label: int, numbers: Iterable[int]) -> list[Photo]:
    """Photos of one class, the content of each its number."""
    return [Photo(f"{label}/{number}", label, str(number).encode()) for number in numbers]


def test_cutting_leaves_a_photo_of_every_class_on_both_sides() -> None:
    for seed in range(30):
        photos = drawn(0, [1]) + drawn(1, [2, 3]) + drawn(2, range(10, 14))
        stay, taken = cut(photos, 0.1, seed)
        assert {photo.label for photo in stay} == {0, 1, 2} and {photo.label for photo in taken} == {1, 2}
        assert [sum(photo.label == 1 for photo in side) for side in (stay, taken)] == [1, 1]
        assert sorted(p.name for p in stay + taken) == sorted(p.name for p in photos)
        almost_all, _ = cut(photos, 0.99, seed)
        assert {photo.label for photo in almost_all} == {0, 1, 2}


def test_cutting_takes_about_the_fraction() -> None:
    for fraction in (0.1, 0.2, 0.5):
        _, taken = cut(drawn(0, range(4000)), fraction, seed=3)
        assert len(taken) / 4000 == pytest.approx(fraction, abs=4 * (fraction * (1 - fraction) / 4000) ** 0.5)


def test_no_photo_moves_because_others_were_added_removed_or_renamed() -> None:
    """Over many additions and removals one at a time; each class has photos enough for both sides."""
    rng = np.random.default_rng(0)
    pool = [drawn(label, range(1000 * label, 1000 * label + 150)) for label in range(3)]
    present = [photo for own in pool for photo in own[:80]]
    _, taken = cut(present, 0.2, seed=0)
    side = {photo.name: False for photo in present} | {photo.name: True for photo in taken}
    for _ in range(200):
        own = pool[rng.integers(3)]
        photo = own[rng.integers(150)]
        present = [p for p in present if p != photo] if photo in present else [photo, *present]
        now = {p.name for p in cut(present, 0.2, seed=0)[1]}
        for p in present:
            assert side.setdefault(p.name, p.name in now) == (p.name in now)
    renamed = [replace(photo, name=f"/elsewhere/{photo.name}") for photo in present]
    assert {photo.content for photo in cut(renamed, 0.2, seed=0)[1]} == {p.content for p in present if side[p.name]}


def test_in_a_small_class_only_the_photo_that_had_to_change_sides_may_move() -> None:
    for seed in range(12):
        present = drawn(0, range(2))
        for number in range(2, 40):
            places = places_by_content(with_digests(present), seed, "test")
            natural = {content for content, place in places.items() if place < 0.2}
            before = {photo.digest for photo in cut(present, 0.2, seed)[1]}
            present += drawn(0, [number])
            after = {photo.digest for photo in cut(present, 0.2, seed)[1]}
            moved = (before ^ after) & places.keys()
            assert moved <= before ^ natural and len(moved) <= 1


def test_copies_stay_on_one_side_whatever_their_class() -> None:
    for seed in range(40):
        photos = [
            Photo(f"{label}/{copy}/{number}", label, bytes([number]))
            for label in (0, 1)
            for copy in (0, 1)
            for number in range(5)
        ]
        photos += (
            drawn(2, range(6)) + [Photo(f"same {i}", 3, b"same") for i in range(4)] + [Photo("same too", 2, b"same")]
        )
        stay, taken = cut(photos, 0.3, seed)
        assert {photo.content for photo in stay}.isdisjoint(photo.content for photo in taken)
        assert {photo.label for photo in stay} == {0, 1, 2, 3} and {photo.label for photo in taken} == {0, 1, 2}


def test_cuts_one_after_the_other_are_independent() -> None:
    rest, _ = cut(drawn(0, range(3000)), 0.2, seed=0)
    _, validation = cut(rest, 0.1, seed=0, part="val")
    assert len(validation) / len(rest) == pytest.approx(0.1, abs=0.025)


def test_a_larger_fraction_holds_the_smaller_one() -> None:
    splits = {"train": drawn(0, range(300)) + drawn(1, [5000])}
    small, large = ({p.name for p in take_fraction(splits, share, 0)["train"]} for share in (0.1, 0.4))
    assert small < large and "1/5000" in small
    assert len(small) / 300 == pytest.approx(0.1, abs=0.06)
    more = {"train": drawn(0, range(-50, 300)) + splits["train"][300:]}
    assert {p.name for p in take_fraction(more, 0.1, 0)["train"]} & {p.name for p in splits["train"]} == small


def test_photos_that_cannot_be_read_are_cut_by_their_names(tmp_path: Path) -> None:
    photos = [Photo(str(tmp_path / f"{number}.jpg"), 0) for number in range(50)]
    stay, taken = cut(photos, 0.3, seed=0)
    assert 3 < len(taken) < 30 and len(stay) + len(taken) == 50
