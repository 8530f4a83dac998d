"""Ctrl-C and SIGTERM, handled between two steps instead of in the middle of one."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn, Self


class StopSignals:
    """A context in which the first SIGINT or SIGTERM only sets `received`; a second one acts as usual.

    Only the main thread receives signals; in other threads the context does nothing.

    Args:
        note: called with a message when the signal comes.
    """

    def __init__(self, note: Callable[[str], None] = lambda text: None) -> None:
        self.received: signal.Signals | None = None
        self._note = note
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def raise_received(self) -> NoReturn:
        """Ends the process as the signal would have, or as SIGTERM where another process of the run received one.

        Raises:
            KeyboardInterrupt: for SIGINT.
            SystemExit: for SIGTERM, with the conventional exit code, 143.
        """
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()
        self._note("stopping after this step; repeat to stop at once")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
