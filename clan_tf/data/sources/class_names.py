"""Names of classes: which ones every later step accepts, and which ones look alike."""

import unicodedata
from collections.abc import Sequence

from clan_tf.text import is_utf8, printable

MOST_CHARACTERS = 255
_INVISIBLE = (
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
"""Characters without width; within a name some scripts and emoji need them, around it nothing does."""
_ALIKE = str.maketrans(
    {**dict.fromkeys(_INVISIBLE + "\ufe0e\ufe0f"), **dict.fromkeys("‘’´`", "'"), **dict.fromkeys("“”", '"')}
)


def normal_name(name: str) -> str:
    """Strips spaces and invisible characters around a name, and composes accented letters (NFC)."""
    before, name = None, unicodedata.normalize("NFC", name)
    while name != before:
        before, name = name, name.strip().strip(_INVISIBLE)
    return name


def name_problem(name: str) -> str | None:
    """Explains why a class can't have a name, or `None`: labels are lines of UTF-8 text in every exported file."""
    if not normal_name(name):
        return "is empty, or nothing that can be seen"
    if not is_utf8(name):
        return "isn't UTF-8"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name):
        return "has a line end or another control character in it"
    if len(name) > MOST_CHARACTERS:
        return f"is longer than {MOST_CHARACTERS} characters"
    return None


def looks(name: str) -> str:
    """Returns what a reader sees of a name: the same for names that are hard to tell apart.

    Kinds of spaces, of hyphens and of quotes, and invisible characters don't count.
    """
    text = unicodedata.normalize("NFC", name).translate(_ALIKE)
    text = "".join("-" if unicodedata.category(character) == "Pd" else character for character in text)
    return " ".join(text.split())


def alike(names: Sequence[str]) -> list[list[str]]:
    """Returns the groups of different names that look alike."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(looks(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def class_name_problems(names: Sequence[str], place: str) -> tuple[str, ...]:
    """Returns what keeps training from starting with these classes: names that a later step rejects or that look alike.

    Args:
        names: of all classes.
        place: the key that names the data, and its path.
    """
    wrong = [(name, problem) for name in names if (problem := name_problem(name))]
    return (
        *(f"{place} has a class whose name {problem}: {quoted_name(name)}. Rename it." for name, problem in wrong),
        *(
            f"{place} has classes whose names look alike: {', '.join(map(quoted_name, group))}. Put them together "
            "under one name, or rename them so that they differ."
            for group in alike(names)
        ),
    )


def case_notes(names: Sequence[str]) -> tuple[str, ...]:
    """Returns notes on classes whose names differ only in case."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return tuple(
        f"The classes {', '.join(map(quoted_name, group))} differ in capitals alone, and are read as different ones."
        for group in groups.values()
        if len(group) > 1
    )


def quoted_name(name: str) -> str:
    """Returns a name in quotes, with invisible characters escaped, cut to 60 characters."""
    text = "".join(_visible(character) for character in printable(name))
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"


def _visible(character: str) -> str:
    is_invisible = unicodedata.category(character) in ("Zs", "Cf") or character in "\ufe0e\ufe0f"
    is_plain = character == " " or not (is_invisible or unicodedata.combining(character))
    return character if is_plain else f"\\u{ord(character):04x}"
