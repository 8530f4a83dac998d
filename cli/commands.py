"""Values of `--set` in commands that are printed to be run."""

import json

from clan_tf.text import escaped_json, printable


def as_yaml(text: str) -> str:
    """Formats a text as the value of `--set`, which is read as YAML; printing leaves it unchanged."""
    import yaml

    try:
        is_plain = yaml.safe_load(text) == text and printable(text) == text
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else escaped_json(json.dumps(text, ensure_ascii=False))
