"""The state of a search while it runs, for display."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from clan_tf.progress import Progress
from clan_tf.search.directory import SearchDirectory
from clan_tf.search.size import planned_trials
from clan_tf.search.space import SearchConfig
from clan_tf.text import duration


class TrialProgress(Progress):
    """The progress of a trial's runs: shows their bars with the trial's name, and hides their lines."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Callable[..., None]]:
        """Tracks as `Progress.track` does, with the trial's name before the description."""
        with self._progress.track(f"{self._name}: {description}", total) as advance:
            yield advance


def standing(directory: SearchDirectory, search: SearchConfig, epochs: int) -> str:
    """Describes how many trials have ended, the best so far, and how long the others will take."""
    ranked = directory.ranked(search)
    planned = planned_trials(search, epochs)
    parts = [f"{len(ranked)} of {planned} done" if planned else f"{len(ranked)} done"]
    if ranked and ranked[0].reason is None:
        parts.append(f"best {search.objective} {ranked[0].mean:.4f} (trial {ranked[0].trial})")
    if ranked and planned:
        parts.append(f"about {duration(directory.hours() * 3600 / len(ranked) * (planned - len(ranked)))} left")
    return ", ".join(parts)


def shown_values(values: Mapping[str, Any]) -> str:
    """Formats the values of a trial in one line."""
    return ", ".join(f"{key} {shown_value(value)}" for key, value in values.items())


def shown_value(value: Any) -> str:
    """Formats a value for people, numbers to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
