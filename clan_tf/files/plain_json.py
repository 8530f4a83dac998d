"""JSON from users and others: plain values of a sensible size, or a `ValueError` with the reason."""

import json
import math
from typing import Any

from clan_tf.text import escaped_json

NUMBER_LENGTH = 100
"""Characters of a number."""
DEPTH = 50
"""Levels of nested lists and mappings."""


def parse_json(text: str | bytes) -> Any:
    """Parses a JSON text.

    Raises:
        ValueError: if it isn't JSON in UTF-8, is nested too deeply, or holds NaN, infinity, a number that is too long,
            or text that can't be written.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(decoded, parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("lists are nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it isn't JSON ({error})") from None
    except UnicodeDecodeError:
        raise ValueError("it isn't text in UTF-8") from None
    require_plain(value)
    return value


def json_text(value: Any, ascii_only: bool = False) -> str:
    r"""Returns a value as JSON; numbers that aren't finite, which JSON can't represent, become null.

    Terminal control characters are escaped, and so are bytes of names that aren't UTF-8: `\udc80` to `\udcff`.
    """
    return escaped_json(json.dumps(_without_nan(value), indent=2, ensure_ascii=ascii_only, allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _integer(text: str) -> int:
    return int(_short(text))


def _number(text: str) -> float:
    number = float(_short(text))
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _short(text: str) -> str:
    if len(text) > NUMBER_LENGTH:
        raise ValueError(f"a number has {len(text):,} characters; at most {NUMBER_LENGTH} are read")
    return text


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} isn't a number of JSON")


def require_plain(root: Any) -> None:
    """Refuses what is nested too deeply for other libraries, and text that no file or terminal accepts."""
    level = [root]
    for _ in range(DEPTH + 1):
        for value in level:
            if isinstance(value, str):
                _require_text(value)
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise ValueError(f"lists are nested more than {DEPTH} deep")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list | tuple | set) else []


def _require_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a text holds a NUL character")
    try:
        # Bytes of file names that aren't UTF-8 appear in texts as surrogates.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair") from None
