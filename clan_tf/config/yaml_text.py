"""YAML from users and others: plain values of a sensible size, or a `ValueError` with the reason."""

from typing import Any

import yaml

from clan_tf.files.plain_json import DEPTH, NUMBER_LENGTH, require_plain

LENGTH = 2**20
"""Most characters of a YAML text."""
NODES = 100_000
"""Most values in a YAML text; those that an alias stands for count at each place."""


def parse_yaml(text: str) -> Any:
    """Parses a YAML text.

    Raises:
        ValueError: if it isn't YAML, is too long, is nested too deeply, holds a number that is too long or an alias
            within its own anchor, or has too many values once its aliases are expanded.
    """
    if len(text) > LENGTH:
        raise ValueError(f"it has {len(text):,} characters; at most {LENGTH:,} are read")
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
    require_plain(value)
    return value


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
        else:
            children = [child for pair in node.value for child in pair]
        size = 1 + sum(count(child, depth + 1) for child in children)
        if size > NODES:
            raise ValueError(f"there are more than {NODES:,} values, with the aliases written out")
        open_nodes.remove(id(node))
        sizes[id(node)] = size
        return size

    count(root, 0)


def _require_short(node: yaml.ScalarNode) -> None:
    if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > NUMBER_LENGTH:
        raise ValueError(f"a number has {len(node.value):,} characters; at most {NUMBER_LENGTH} are read")
