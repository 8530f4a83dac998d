"""Contenders that take turns, so that a machine whose speed drifts is fair to all, and what their rounds say."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clan_tf.progress import Progress

Seconds = dict[str, list[float]]
"""Mean seconds of a call, by contender, for each round."""


@dataclass(frozen=True)
class Spread:
    """What a figure is over the rounds.

    Attributes:
        median: its median.
        lowest: the lowest of all rounds.
        highest: the highest of all rounds.
    """

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarizes one value per round."""
        return cls(statistics.median(values), min(values), max(values))

    def to_json(self) -> dict[str, float]:
        """Returns plain values."""
        return dict(vars(self))


def measure_rounds(contenders: Mapping[str, Callable[[], Any]], calls: int, rounds: int, progress: Progress) -> Seconds:
    """Measures seconds per call: in each round every contender makes `calls` calls in a row.

    One more call before them isn't measured: it fills the caches that the contender before it used. The contender that
    begins changes from round to round.

    Args:
        contenders: functions that return when their work is done.
        calls: how many calls are measured in a turn.
        rounds: how many rounds.
        progress: where progress is shown.
    """
    names = list(contenders)
    seconds: Seconds = {name: [] for name in names}
    with progress.track("measuring", rounds * len(names)) as advance:
        for round_ in range(rounds):
            first = round_ % len(names)
            for name in (*names[first:], *names[:first]):
                seconds[name].append(_seconds(contenders[name], calls))
                advance(name)
    return seconds


def ratios(seconds: Seconds, name: str, other: str) -> Spread:
    """Returns how many times as fast as `other` the contender `name` was, over the rounds."""
    return Spread.of([theirs / own for own, theirs in zip(seconds[name], seconds[other], strict=True)])


def _seconds(call: Callable[[], Any], calls: int) -> float:
    call()
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls
