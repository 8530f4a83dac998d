"""Folders named after labels: safe, distinct and reversible."""

from itertools import product
from urllib.parse import unquote

import pytest

from clan_tf.inference.folder_names import MOST_BYTES, folder_names


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("red bird", "red bird"),
        ("grün", "grün"),
        ("F-16A/B", "F-16A%2FB"),
        ("100%", "100%25"),
        ("..", "%2E%2E"),
        (".hidden", "%2Ehidden"),
        ("v1.", "v1%2E"),
        ("tab\there\x1b[2J", "tab%09here%1B[2J"),
        ("con", "%63on"),
        ("LPT1.x", "%4CPT1.x"),
        ("contour", "contour"),
        ("lost+found", "%6Cost+found"),
        ("_unsure", "%5Funsure"),
        ("a\\b:c", "a%5Cb%3Ac"),
    ],
)
def test_a_label_is_its_own_folder_or_is_escaped(label: str, name: str) -> None:
    assert folder_names([label], reserved=["_unsure"]) == {label: name}
    assert unquote(name) == label


def test_labels_that_some_systems_take_for_one_get_distinct_folders() -> None:
    cases = ["".join(letters) for letters in product("aA", "bB", "cC")]
    labels = [*cases, "%41bc", "é", "e\u0301", "É", "a/b", "a%2Fb", "A/b"]
    names = folder_names(labels)
    assert len({name.casefold() for name in names.values()}) == len(labels)
    assert [unquote(name) for name in names.values()] == list(names)
    assert folder_names(reversed(labels)) == names


def test_long_labels_are_cut_and_stay_distinct() -> None:
    labels = ["/" * 500, "/" * 501, "ü" * 150, "x" * MOST_BYTES, "x" * (MOST_BYTES + 1)]
    names = folder_names(labels)
    assert len(set(names.values())) == len(labels)
    assert max(len(name.encode()) for name in names.values()) <= MOST_BYTES
    assert names["x" * MOST_BYTES] == "x" * MOST_BYTES
    assert "%2~" not in names["/" * 500]
