"""Runs are trained without pictures."""

from collections.abc import Iterator

import pytest

from helpers.pictures import without_pictures


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    with without_pictures():
        yield
