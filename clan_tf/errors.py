"""The errors that a user can fix. The command line prints their text alone; any other exception is a defect."""

from collections.abc import Sequence


class UserError(ValueError):
    """A mistake in the user's input: the text names the file or key, the rule, the value and the remedy."""


class CheckFailed(RuntimeError):
    """Valid input whose outcome isn't usable, such as a loss that became NaN or a full disk."""


class ProcessLost(CheckFailed):
    """Another process of the same training run ended. TensorFlow would keep looking for it while this one exits."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, in the plural unless it is 1: `1 photo`, `2,000 photos`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def shown(value: object) -> str:
    """Returns a value as Python writes it, shortened if it is long."""
    return shortened(repr(value))


def shortened(text: str, most: int = 200) -> str:
    """Returns the text, shortened if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Returns quoted names, the first `most` of them: `'a', 'b' and 3 more`."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest


def nearest(name: str, names: list[str]) -> str:
    """Returns ` Did you mean NAME?` for the valid name closest to `name`, or an empty text if none is close."""
    from difflib import get_close_matches

    matches = get_close_matches(name, names, n=1)
    return f" Did you mean {matches[0]}?" if matches else ""
