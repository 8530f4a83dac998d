"""Pages of the site that are made when it is built, so that they can't differ from the code.

The reference of config keys comes from the pydantic models, the reference of commands from the Typer app, and the pages
on contributing and changes from the files in the root of the repository.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, get_args

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from clan_tf.cli.main import app
from clan_tf.config import Experiment
from clan_tf.config.reference import keys_of, one_line, sections_of
from clan_tf.search import SearchConfig

ROOT = Path(__file__).parents[1]
_PYTHON_TYPE = re.compile(r" <(str|list\[str\]|int range)>$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those that are written by hand."""
    pages = {
        "reference/config.md": config_reference(),
        "reference/commands.md": command_reference(),
        "contributing.md": _root_page("CONTRIBUTING.md"),
        "changelog.md": _root_page("CHANGELOG.md"),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def config_reference() -> str:
    """Describes every key of an experiment and of a search space, in Markdown."""
    keys = [line for name, section in sections_of(Experiment) for line in _section(name, section)]
    text = """# Config keys

An experiment is a YAML file with the sections `data`, `model` and `training`. `--set SECTION.KEY=VALUE` overrides a key
on the command line. Values stand here as in YAML."""
    return "\n".join([text, *keys, "", "## Search spaces", "", *_keys("", SearchConfig), *_parameters(), ""])


def command_reference() -> str:
    """Describes every verb of the command line with its arguments and options, in Markdown."""
    verbs = [line for name, command in _verbs("clan-tf", typer.main.get_command(app)) for line in _verb(name, command)]
    text = """# Commands

`--help` prints the same. Exit codes: 0 when all went well; 1 when a check failed or a photo couldn't be read; 2 for a
mistake in the command, the config or the data; 130 after Ctrl-C; 141 when the reader of the output went away."""
    return "\n".join([text, *verbs, ""])


def _root_page(name: str) -> str:
    """A file in the root of the repository, whose links lead to pages of the site."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\]\(([A-Z]+)\.md\)", lambda link: f"]({link[1].lower()}.md)", text)


def _section(name: str, section: type[BaseModel]) -> list[str]:
    """A heading, what the section is, and its keys."""
    heading = f"## `{name}` {{#{name}}}" if name else "## The whole file"
    return [
        "",
        heading,
        "",
        one_line(section.__doc__),
        "",
        *_keys(name, section),
    ]


def _keys(name: str, section: type[BaseModel]) -> list[str]:
    """The table of a section's keys: values, default and description."""
    rows = []
    for key in keys_of(section, name):
        if key.is_section:
            rows.append((f"`{key.name}`", f"[section](#{key.path})", "", key.description))
        else:
            default = "none (required)" if key.is_required else _code(key.default)
            anchor = f'<span id="{key.path}"></span>' if name else ""
            rows.append((f"{anchor}`{key.name}`", key.values(_code), default, key.description))
    return _table(("key", "values", "default", ""), rows)


def _parameters() -> Iterator[str]:
    """A heading, what is tried, and the keys, for each kind of parameter in a search space."""
    parameter = get_args(SearchConfig.model_fields["parameters"].annotation)[1]
    for kind in get_args(get_args(parameter)[0]):
        name = get_args(kind.model_fields["kind"].annotation)[0]
        yield from ("", f"### Parameters of kind `{name}`", "", one_line(kind.__doc__), "", *_keys("", kind))


def _verbs(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands below a group, with all words that call them; groups that have a help text of their own too."""
    for word, inner in command.commands.items():
        yield f"{name} {word}", inner
        if hasattr(inner, "commands"):
            yield from _verbs(f"{name} {word}", inner)


def _verb(name: str, command: Any) -> list[str]:
    """A heading, the usage, the help text, and the table of arguments and options."""
    context = typer.Context(command, info_name=name)
    lines = ["", f"## {name}", "", command.help]
    if not hasattr(command, "commands"):
        records = (parameter.get_help_record(context) for parameter in command.params)
        rows = [(_code(_PYTHON_TYPE.sub("", what)), _escaped(text)) for what, text in filter(None, records)]
        usage = re.sub(
            r"[{}]|(\[)\[|(\])\]", r"\1\2", command.get_usage(context).removeprefix("Usage: ").replace("…...", "…")
        )
        lines += ["", "```", usage, "```", "", *_table(("argument or option", ""), rows)]
    return [*lines, "", "Examples:", "", "```", *command.epilog.splitlines(), "```"]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table that `site.css` lays out anew on narrow screens."""
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]
    return ['<div class="keys" markdown="block">', "", *lines, "", "</div>"]


def _code(value: Any) -> str:
    """Code in the cell of a table."""
    return f"<code>{_escaped(str(value))}</code>"


def _escaped(text: str) -> str:
    """A text that neither HTML nor a table's cell takes for its own."""
    return re.sub(r"([|*_`\[\]])", lambda character: f"&#{ord(character[1])};", escape(text, quote=False))
