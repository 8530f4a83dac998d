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


class NotingProgress(Progress):
    """Shows progress where another does, and keeps what it notes to users: the lines that begin with `note: `.

    Attributes:
        notes: these, without their beginning.
    """

    def __init__(self, shown: Progress) -> None:
        self.shown = shown
        self.notes: list[str] = []

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Callable[..., None]]:
        """Tracks work of `total` units."""
        with self.shown.track(description, total) as advance:
            yield advance

    def note(self, text: str) -> None:
        """Shows a line that stays, and keeps it if it is a note."""
        if text.startswith("note: "):
            self.notes.append(text.removeprefix("note: "))
        self.shown.note(text)
