"""Levels above the classes: their sums and distances against loops, and which tables are no trees."""

from typing import Any

import numpy as np
import pytest

from clan_tf.taxonomy import Taxonomy

BIRDS = [
    ["species", "genus", "family"],
    ["house sparrow", "Passer", "Passeridae"],
    ["fish crow", "Corvus", "Corvidae"],
    ["tree sparrow", "Passer", "Passeridae"],
    ["rook", "Corvus", "Corvidae"],
    ["jay", "Garrulus", "Corvidae"],
]
NAMES = [row[0] for row in BIRDS[1:]]


def changed(row: int, column: int, name: Any) -> list[list[Any]]:
    return [
        [name if (at, place) == (row, column) else text for place, text in enumerate(texts)]
        for at, texts in enumerate(BIRDS)
    ]


def test_a_group_has_the_sum_of_its_classes_probabilities(rng: np.random.Generator) -> None:
    taxonomy = Taxonomy.of(BIRDS, NAMES)
    probabilities = rng.dirichlet(np.ones(5), (4, 3)).astype("float32")
    for level in range(3):
        labels = taxonomy.labels(level)
        sums = taxonomy.probabilities(probabilities, level)
        assert sums.shape == (4, 3, len(labels))
        for place, label in enumerate(labels):
            for photo in np.ndindex(4, 3):
                own = [probabilities[photo][i] for i, row in enumerate(BIRDS[1:]) if row[level] == label]
                assert sums[(*photo, place)] == pytest.approx(sum(map(float, own)), abs=1e-7)
    assert taxonomy.labels(1) == ("Passer", "Corvus", "Garrulus")
    assert taxonomy.labels(2) == ("Passeridae", "Corvidae")


def test_sums_of_rounded_probabilities_are_no_more_than_1_and_nan_stays_nan() -> None:
    """As those of an int8 file, in steps of 1/256."""
    taxonomy = Taxonomy.of(BIRDS, NAMES)
    np.testing.assert_array_equal(taxonomy.probabilities(np.array([0, 0.75, 0.0, 0.25, 1 / 256]), 2), [0.0, 1.0])
    assert np.isnan(taxonomy.probabilities(np.full(5, np.nan), 1)).all()


def test_the_height_of_two_classes_is_that_of_their_lowest_common_ancestor() -> None:
    taxonomy = Taxonomy.of(BIRDS, NAMES)
    for some in range(5):
        for others in range(5):
            shared = [level for level in range(3) if BIRDS[1 + some][level] == BIRDS[1 + others][level]]
            expected = min(shared, default=3)
            assert taxonomy.heights(np.array([some]), np.array([others])).tolist() == [expected]
    assert taxonomy.heights(np.array([], int), np.array([], int)).tolist() == []


def test_it_becomes_plain_values_and_is_read_from_them() -> None:
    taxonomy = Taxonomy.of(BIRDS, NAMES)
    assert taxonomy.to_table() == BIRDS and Taxonomy.of(tuple(map(tuple, BIRDS)), NAMES) == taxonomy


def test_a_group_may_be_called_like_one_that_it_is_in() -> None:
    """As in a genus of one species."""
    table = [["class", "genus"], ["Puma", "Puma"], ["lynx", "Lynx"]]
    assert Taxonomy.of(table, ["Puma", "lynx"]).labels(1) == ("Puma", "Lynx")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(3, 2, "Ploceidae"), r"genus 'Passer' is in two of the level family: 'Passeridae' \('house sparrow'\)"),
        (changed(5, 1, "Passeridae"), "'Passeridae' is a name at the level genus and at the level family"),
        (changed(5, 2, "rook"), "'rook' is a name at the level species and at the level family, and the one isn't in"),
        (changed(0, 1, "species"), "names the level 'species' twice"),
        (changed(0, 1, "auto"), "names a level 'auto'"),
        (changed(2, 0, "crow"), "must have a row for each of the 5 classes.*'crow' instead of 'fish crow'"),
        (BIRDS[:-1], "must have a row for each of the 5 classes, in their order; received 4 rows"),
        (BIRDS[:1], "must be a list of rows"),
        ([row[:1] for row in BIRDS], "must have from 2 to 20 levels"),
        ([[*row, *map(str, range(20))] for row in BIRDS], "must have from 2 to 20 levels"),
        ([*BIRDS[:-1], ["jay", "Garrulus"]], "must have rows of as many names as there are levels"),
        (changed(5, 1, ""), "must hold texts of 1 to 1,000 characters"),
        (changed(5, 1, 3), "must hold texts"),
        (changed(5, 1, "x" * 1001), "must hold texts"),
        ({"class": []}, "must be a list of rows"),
        ("table", "must be a list of rows"),
        ([1, 2], "must have rows"),
    ],
)
def test_what_is_no_tree_over_the_classes_is_refused(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Taxonomy.of(table, NAMES)
    assert len(str(caught.value)) < 500


def test_an_unknown_level_is_named_with_the_nearest() -> None:
    taxonomy = Taxonomy.of(BIRDS, NAMES)
    assert taxonomy.index("family") == 2
    with pytest.raises(ValueError, match="no level 'genuss'. Did you mean genus\\? Its levels: species, genus, family"):
        taxonomy.index("genuss")
