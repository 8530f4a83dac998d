"""YAML from users and others: plain values of a sensible size, or a `ValueError` with the reason."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from clan_tf.errors import shown
from clan_tf.files.plain_json import DEPTH, NUMBER_LENGTH, require_plain
from clan_tf.text import printable

LENGTH = 2**20
"""Most characters of a YAML text."""
NODES = 100_000
"""Most values in a YAML text; those that an alias stands for count at each place."""
_INT, _FLOAT, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "merge"))
_NUMBERS = {
    _INT: (re.compile(r"[-+]?(0|[1-9][0-9_]*)$|[-+]?0x[0-9a-fA-F_]+$"), "-+0123456789"),
    _FLOAT: (
        re.compile(
            r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?$|[-+]?\.[0-9][0-9_]*([eE][-+][0-9]+)?$|"
            r"[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
        ),
        "-+0123456789.",
    ),
}
"""What is a number, and the characters with which such a text begins."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its octal numbers (`010`), numbers to base 60 (`1:30`) and to base 2: these are texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))


class _Dumper(yaml.SafeDumper):
    """Escapes in a text what terminals obey, so that `printable` leaves the YAML unchanged."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Puts a text in double quotes, which alone have escapes, if it holds such characters."""
        style = None if printable(data) == data else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """Writes a text in double quotes, in ASCII if it holds such characters."""
        self.allow_unicode = printable(text) == text
        super().write_double_quoted(text, split)
        self.allow_unicode = True


_Dumper.add_representer(str, _Dumper.represent_str)


def yaml_text(values: Mapping[str, Any]) -> str:
    """Writes values as YAML, a line per key, which `parse_yaml` reads back; `printable` leaves it unchanged."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse_yaml(text: str) -> Any:
    """Parses a YAML text.

    Raises:
        ValueError: if it isn't YAML, is too long, is nested too deeply, holds a number that is too long, a key twice in
            one mapping or an alias within its own anchor, or has too many values once its aliases are expanded.
    """
    if len(text) > LENGTH:
        raise ValueError(f"it has {len(text):,} characters; at most {LENGTH:,} are read")
    loader = None
    try:
        loader = _Loader(text)
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
    require_plain(value)
    return value


def has_comment(text: str) -> bool:
    """Checks whether a text that is YAML holds a comment, which `parse_yaml` passes over."""
    end = 0
    for token in yaml.scan(text, _Loader):
        if "#" in text[end : token.start_mark.index]:
            return True
        end = token.end_mark.index
    return False


def _construct(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    try:
        return loader.construct_document(node)
    # PyYAML raises these for dates such as the 13th month, and for values that aren't what their tag says.
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
        elif isinstance(node, yaml.MappingNode):
            _require_different_keys(node)
            children = [child for pair in node.value for child in pair]
        size = 1 + sum(count(child, depth + 1) for child in children)
        if size > NODES:
            raise ValueError(f"there are more than {NODES:,} values, with the aliases written out")
        open_nodes.remove(id(node))
        sizes[id(node)] = size
        return size

    count(root, 0)


def _require_different_keys(mapping: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        # A merge key has the keys of another mapping, which those of its own override.
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        name, line = (key.tag, key.value), key.start_mark.line + 1
        if name in lines:
            where = f"line {line}" if lines[name] == line else f"lines {lines[name]} and {line}"
            raise ValueError(
                f"the key {shown(key.value)} stands twice in one mapping, in {where}. Keep one, which holds all that "
                "belongs to it"
            )
        lines[name] = line


def _require_short(node: yaml.ScalarNode) -> None:
    if node.tag in _NUMBERS and len(node.value) > NUMBER_LENGTH:
        raise ValueError(f"a number has {len(node.value):,} characters; at most {NUMBER_LENGTH} are read")
