"""What the keys of an experiment take: a section, texts, or other values."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from clan_tf.config.experiment import Experiment
from clan_tf.config.section import is_section


def is_section_key(path: str) -> bool:
    """Checks whether a key such as `training.schedule` is a section, whose keys are known."""
    return is_section(_annotation(path))


def takes_text(path: str) -> bool:
    """Checks whether a key takes a text or a path, or a list of texts, and nothing else but null."""
    leaves = set(_leaves(_annotation(path)))
    return bool(leaves) and leaves <= {str, Path, list} and leaves != {list}


def takes_list(path: str) -> bool:
    """Checks whether a key takes a list."""
    return list in _leaves(_annotation(path))


def _annotation(path: str) -> Any:
    """Returns the type of a key's values, or `None` if there is no such key, or it is one of a mapping."""
    found: Any = Experiment
    for part in path.split("."):
        if not is_section(found) or part not in found.model_fields:
            return None
        found = found.model_fields[part].annotation
    return found


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yields the kinds of values that a type has, `None` and the items of lists of texts aside."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _leaves(part)
    elif origin is Literal:
        yield Literal
    elif origin is list:
        yield list
        yield from _leaves(get_args(annotation)[0])
    elif annotation not in (None, type(None)):
        yield origin or annotation
