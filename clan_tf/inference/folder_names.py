"""Folders named after labels, which may be any text: safe on every system, and distinct."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from clan_tf.photos.naming import folder_reason
from clan_tf.text import printable

_SPECIAL = frozenset('/\\:*?"<>|%')
"""What separates folders, means something to a system, or begins an escape here."""
_AT_EDGES = ". "
"""Hidden at the beginning of a name, dropped by Windows at its end."""
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.DOTALL)
"""Names that Windows has for devices, with any suffix."""
MOST_BYTES = 200
"""Most bytes of a folder's name, of the 255 that file systems allow."""


def folder_names(labels: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Gives every label a folder name of its own, on file systems that ignore capitals, too.

    A label is its own name where possible. Other characters are percent-encoded, as in addresses: `F-16A/B` becomes
    `F-16A%2FB`, and `urllib.parse.unquote` undoes it. If that isn't enough (`con`; `Red` beside `red`), so are the
    first letters. The names of very long labels are cut, and end in a hash.

    Args:
        labels: any texts, each at least one character.
        reserved: names that no label gets.
    """
    taken = {name_key(name) for name in reserved}
    names = {}
    for label in sorted(set(labels)):
        candidates = (_encoded(label, letters) for letters in range(len(label) + 1))
        names[label] = next(name for name in candidates if name_key(name) not in taken and not _is_special(name))
        taken.add(name_key(names[label]))
    return names


def _encoded(label: str, letters: int) -> str:
    """Returns a label with everything encoded that isn't safe, and in any case its first `letters` characters."""
    last = len(label) - 1
    parts = []
    for index, character in enumerate(label):
        is_plain = character not in _SPECIAL and printable(character) == character and index >= letters
        is_plain = is_plain and not (index in (0, last) and character in _AT_EDGES)
        parts.append(character if is_plain else _escape(character))
    name = "".join(parts)
    if len(name.encode()) <= MOST_BYTES:
        return name
    mark = f"~{hashlib.sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    while len(name.encode()) > MOST_BYTES - len(mark):
        name = "".join(parts := parts[:-1])
    return name + mark


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _is_special(name: str) -> bool:
    """Checks whether a system has a meaning for a name, or photos in a folder of this name wouldn't be listed."""
    return _DEVICES.fullmatch(name.lower()) is not None or folder_reason(name) is not None


def name_key(name: str) -> str:
    """Returns what two names have in common that are one on systems where capitals or forms of Unicode don't count."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
