"""The errors that a user can mend. The command line prints their text alone; any other exception is a defect."""

from collections.abc import Sequence


class UserError(ValueError):
    """A mistake in what the user gave: the text names the file or key, the rule, the value and the way out."""


class CheckFailed(RuntimeError):
    """Valid input whose outcome isn't usable, such as a loss that became NaN or a full disk."""


class ProcessLost(CheckFailed):
    """Another process of the same training ended. TensorFlow would keep looking for it while this one exits."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1: `1 photo`, `2,000 photos`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    return shortened(repr(value))


def shortened(text: str, most: int = 200) -> str:
    """The text, cut where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Quoted names, the first `most` of them: `'a', 'b' and 3 more`."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest


def nearest(name: str, names: list[str]) -> str:
    """` Did you mean NAME?` for the valid name closest to `name`, or nothing where none is close."""
    from difflib import get_close_matches

    matches = get_close_matches(name, names, n=1)
    return f" Did you mean {matches[0]}?" if matches else ""
