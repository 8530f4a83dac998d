"""JSON and YAML of users and strangers: plain values of a sensible size, or a `ValueError` with the reason."""

import json
import math
from typing import Any

import yaml

NUMBER_LENGTH = 100
"""Characters of a number."""
DEPTH = 50
"""Lists and mappings within each other."""
YAML_NODES = 100_000
"""Values in a YAML text, those that an alias stands for counted at each place."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

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
    _require_plain(value)
    return value


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: if it isn't YAML, is nested too deeply, holds a number that is too long or an alias within what it
            stands for, or has too many values where its aliases are written out.
    """
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _require_small(node)
        value = _construct(loader, node)
    except RecursionError:
        raise ValueError("lists are nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    finally:
        if loader:
            loader.dispose()
    _require_plain(value)
    return value


def _construct(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    try:
        return loader.construct_document(node)
    # PyYAML lets these out of dates such as the 13th month, and of values that aren't what their tag says.
    except (ValueError, OverflowError, TypeError, LookupError, AttributeError) as error:
        reason = f": {error}" if isinstance(error, ValueError) else ""
        raise ValueError(f"a value isn't the number, date or other kind that it is written as{reason}") from None


def _require_small(root: yaml.Node) -> None:
    """Checks a tree before its aliases and merge keys are followed, and its numbers read."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def count(node: yaml.Node, depth: int) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise ValueError("an alias stands within what it stands for")
        if depth > DEPTH:
            raise ValueError(f"lists are nested more than {DEPTH} deep")
        open_nodes.add(id(node))
        children: list[yaml.Node] = []
        if isinstance(node, yaml.ScalarNode):
            _require_short(node)
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        else:
            children = [child for pair in node.value for child in pair]
        size = 1 + sum(count(child, depth + 1) for child in children)
        if size > YAML_NODES:
            raise ValueError(f"there are more than {YAML_NODES:,} values, with the aliases written out")
        open_nodes.remove(id(node))
        sizes[id(node)] = size
        return size

    count(root, 0)


def _require_short(node: yaml.ScalarNode) -> None:
    if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > NUMBER_LENGTH:
        raise ValueError(f"a number has {len(node.value):,} characters; at most {NUMBER_LENGTH} are read")


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


def _require_plain(root: Any) -> None:
    """Refuses what is nested too deeply for other libraries, and text that no file or terminal takes."""
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
        # Bytes of file names that aren't UTF-8 stand in texts as surrogates.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair") from None
