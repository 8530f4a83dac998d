"""How the configs of runs from older versions are read: these had fewer keys, and ignored some in silence."""

from collections.abc import Collection
from pathlib import Path

from clan_tf.choices import FORMER_DEFAULTS
from clan_tf.config import flatten, ignored_keys
from clan_tf.config.yaml_text import parse_yaml
from clan_tf.errors import UserError
from clan_tf.files import read_text


def own_architecture(config: Path) -> list[str]:
    """Returns the override that leaves out the keys that a run's architecture ignores; none if it can't be read."""
    try:
        written = dict(flatten(parse_yaml(read_text(config, "RUN")) or {}))
    except (UserError, ValueError, AttributeError):
        return []  # whoever reads the config says what is wrong with it
    name = "model.architecture"
    return [f"{name}={written[name]}"] if isinstance(written.get(name), str) else []


def former_values(missing: Collection[str], architecture: str) -> list[str]:
    """Returns overrides that give missing keys the values that they had before they existed."""
    ignored = ignored_keys(architecture)
    return [
        f"model.{name}={value}"
        for name, value in FORMER_DEFAULTS.items()
        if f"model.{name}" in missing and name not in ignored
    ]
