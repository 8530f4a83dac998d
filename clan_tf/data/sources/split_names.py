"""Folder names that mean a split, such as `train`, `training_set` or `seg_train`."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The plain names, which may also be names of classes."""
Split = Literal["train", "val", "test"]

_SPLIT_WORDS: dict[Split, str] = {
    "train": "training|train|trn",
    "val": "validations?|valid|val",
    "test": "testing|tests?|tst",
}
_FILLING = "data|datasets?|sets?|images?|imgs?|img|photos?|pictures?|pics?|splits?|folders?|files|samples|[0-9]+"
_UNCLEAR_WORDS = "development|devel|dev|evaluation|eval|hold[^a-z]?out|held[^a-z]?out|trainval|minival|testdev"
_WORDS = "|".join([*_SPLIT_WORDS.values(), _UNCLEAR_WORDS])
_ANY_WORD = re.compile(rf"(^|[^a-z])({_WORDS}|folds?|splits?)(sets?|[0-9]+)?([^a-z]|$)")


def tells_split(name: str) -> Split | None:
    """Returns the split that a folder's name clearly means: its word and perhaps words such as `set` or `images`."""
    return next((split for split, words in _SPLIT_WORDS.items() if _is_only(words, name)), None)


def is_split_name(name: str) -> bool:
    """Checks whether a name means a split, or is just a word that may mean one, such as `holdout`."""
    return tells_split(name) is not None or _is_only(_UNCLEAR_WORDS, name)


def is_plain(name: str) -> bool:
    """Checks whether a name is just the word for a split, such as `train` or `Test`."""
    return any(name.lower() in names for names in SPLIT_FOLDERS.values())


def resembles_split(name: str) -> bool:
    """Checks whether a name contains a word that may mean a split: `my_holdout`, but also `train_station`."""
    return is_split_name(name) or _ANY_WORD.search(_plain(name)) is not None


def splits_told(names: Sequence[str]) -> dict[str, Split]:
    """Maps each name that means a split to it; a shared beginning or end, as in `seg_train`, is cut off."""
    told = {name: split for name in names if (split := tells_split(name))}
    for split_of in (_by_shared_end(names, at_start=True), _by_shared_end(names, at_start=False)):
        told |= {name: split for name, split in split_of.items() if name not in told}
    return told


def _by_shared_end(names: Iterable[str], at_start: bool) -> dict[str, Split]:
    """Maps names to splits by the rest of each name, where names of different splits share a beginning or end."""
    groups: dict[str, dict[str, Split]] = {}
    for name in names:
        parts = re.split(r"[^a-z0-9]+", _plain(name))
        for cut in range(1, len(parts)):
            shared, rest = (parts[:cut], parts[cut:]) if at_start else (parts[-cut:], parts[:-cut])
            if split := tells_split("_".join(rest)):
                groups.setdefault("_".join(shared), {})[name] = split
    found: dict[str, Split] = {}
    for group in groups.values():
        if len(set(group.values())) > 1:
            found |= group
    return found


def _is_only(words: str, name: str) -> bool:
    """Checks whether a name is one of some words, perhaps with words such as `set` or `images` or a number."""
    filled = rf"(({_FILLING})[^a-z0-9]*)*({words})([^a-z0-9]*({_FILLING}))*[^a-z0-9]*"
    return re.fullmatch(filled, _plain(name)) is not None


def _plain(name: str) -> str:
    """Returns a name in lower case, with words that begin with a capital letter separated."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
