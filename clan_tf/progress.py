"""How long-running work reports its progress; the command line shows it, a library call is silent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Silent progress; the command line's subclass draws bars."""

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Callable[..., None]]:
        """Tracks work of `total` units. Yields `advance(text="")`, called after each unit."""
        yield lambda text="": None

    def note(self, text: str) -> None:
        """Shows a line that stays."""
