"""Names of files and classes as a person may safely read them."""

import os
import re
import shlex
import unicodedata
from pathlib import Path

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ESCAPED = ("Cc", "Cs", "Zl", "Zp")
"""Categories of Unicode: control characters, surrogates (bytes that aren't UTF-8), line and paragraph separators."""


def printable(text: str, keep: str = "") -> str:
    r"""Escapes what a terminal would obey or what can't be encoded: `\x1b` instead of an escape character.

    Args:
        text: any text; bytes of file names that aren't UTF-8 appear in it as surrogates, as `os.fsdecode` gives them.
        keep: control characters that stay, such as a line end.
    """
    if text.isprintable():
        return text
    return "".join(
        _escape(character) if _is_unsafe(character) and character not in keep else character for character in text
    )


def is_utf8(text: str) -> bool:
    """Checks whether a text can be written as UTF-8: it can't if surrogates stand for bytes of file names."""
    return not any(unicodedata.category(character) == "Cs" for character in text)


def command_line(*words: str | Path) -> str:
    """Writes words as a shell takes them, for messages with a command: those with spaces and the like are quoted."""
    return shlex.join(path_word(word) if isinstance(word, Path) else word for word in words)


def is_address(text: str) -> bool:
    """Checks whether a text is an address, such as `https://…`, and no path of anything."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None and not os.path.exists(text)


def path_word(path: str | Path) -> str:
    """Returns a path as a word of a command that isn't taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def duration(seconds: float) -> str:
    """Writes a duration as `2 h 05 min`, `5 min 07 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def data_size(size: float) -> str:
    """Writes a number of bytes with three digits: `840 bytes`, `12.3 kB`, `4.56 MB`, `2,048 GB`."""
    if round(size) < 1000:
        return "1 byte" if round(size) == 1 else f"{size:.0f} bytes"
    unit = next(unit for unit in ("kB", "MB", "GB") if (size := size / 1000) < 999.5 or unit == "GB")
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{size:,.{decimals}f} {unit}"


def short_percent(share: float) -> str:
    """Writes a share, 0…1, as percent with three digits: `2 %`, `97.5 %`."""
    return f"{100 * share:.3g} %"


def escaped_json(json_text: str) -> str:
    r"""Escapes JSON text by JSON's own escapes, so that `printable` leaves it unchanged: `\u009b`, `\udce9`."""
    return "".join(
        f"\\u{ord(character):04x}" if _is_unsafe(character) and character != "\n" else character
        for character in json_text
    )


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED or character in _BIDI_CONTROLS


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
