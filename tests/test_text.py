"""Texts for people."""

import pytest

from clan_tf.text import duration


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
