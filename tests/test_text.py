"""Texts for people."""

import pytest

from clan_tf.text import data_size, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (307, "5 min 07 s"),
        (3599.6, "1 h 00 min"),
        (7507, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_a_duration_is_in_the_two_units_that_tell_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (999.6, "1.00 kB"),
        (1234, "1.23 kB"),
        (12_345, "12.3 kB"),
        (999_400, "999 kB"),
        (999_600, "1.00 MB"),
        (9_996_000, "10.0 MB"),
        (4.56e9, "4.56 GB"),
        (2.0482e12, "2,048 GB"),
    ],
)
def test_a_size_has_three_digits_in_the_unit_that_fits(size: float, text: str) -> None:
    assert data_size(size) == text
