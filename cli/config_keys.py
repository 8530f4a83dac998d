"""`clan-tf config keys`."""

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clan_tf.cli.completion import complete_section
from clan_tf.cli.console import JsonOption, print_json, say

if TYPE_CHECKING:
    from clan_tf.config.reference import ConfigKey


def config_keys(
    section: Annotated[
        str | None,
        typer.Argument(
            metavar="[SECTION]",
            autocompletion=complete_section,
            help="A section such as training.schedule, or a key; by default all.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys of a config: values, default and meaning."""
    from clan_tf.config.reference import sections_with_keys

    sections = sections_with_keys(section)
    if as_json:
        print_json([_as_json(key) for _, keys in sections.values() for key in keys])
        return
    for index, (name, (text, keys)) in enumerate(sections.items()):
        say(f"{'' if index == 0 else chr(10)}{name or 'The whole file'}: {text}")
        for key in keys:
            default = "required" if key.is_required else f"default: {key.default}"
            say(f"\n  {key.path}  {key.values()}  [{default}]")
            say(textwrap.fill(key.description, _width(), initial_indent="    ", subsequent_indent="    "))


def _as_json(key: "ConfigKey") -> dict[str, Any]:
    return {
        "key": key.path,
        "type": key.values(),
        "choices": key.choices or None,
        "required": key.is_required,
        "default": json.loads(key.default) if key.default else None,
        "description": key.description,
    }


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 110
