"""Commands that are printed to be run: their words as a POSIX shell takes them."""

import json
import os
import shlex

from clan_tf.text import escaped_json, printable


def command(*words: str) -> str:
    """Returns a command of clan-tf, each word in quotes where a shell needs them."""
    return shlex.join(["clan-tf", *words])


def path_word(path: str | os.PathLike[str]) -> str:
    """Returns a path as a word of a command, which isn't taken for an option."""
    text = os.fspath(path)
    return f"./{text}" if text.startswith("-") else text


def quoted_path(path: str | os.PathLike[str]) -> str:
    """Returns a path as a part of a command's text."""
    return shlex.quote(path_word(path))


def as_yaml(text: str) -> str:
    """Formats a text as the value of `--set`, which is read as YAML; printing leaves it unchanged."""
    import yaml

    try:
        is_plain = yaml.safe_load(text) == text and printable(text) == text
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else escaped_json(json.dumps(text, ensure_ascii=False))
