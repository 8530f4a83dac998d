"""The help of every command is whole, and its examples are commands that exist."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from clan_tf.cli.examples import EXAMPLES
from clan_tf.cli.experiment import ExperimentArguments
from clan_tf.cli.main import app
from clan_tf.config import load_experiment, shipped_configs

ROOT_COMMAND = typer.main.get_command(app)


def commands(command: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    yield words, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{words} {word}".strip())


COMMANDS = dict(commands(ROOT_COMMAND))
GROUPS = [words for words, command in COMMANDS.items() if hasattr(command, "commands")]
LINES = [(words, line) for words, lines in EXAMPLES.items() for line in lines]


def help_of(words: str, columns: int = 80) -> str:
    asked = CliRunner().invoke(app, [*words.split(), "--help"], terminal_width=columns)
    assert asked.exit_code == 0 and asked.stderr == ""
    return asked.stdout


@pytest.mark.parametrize("columns", [50, 80])
@pytest.mark.parametrize("group", GROUPS)
def test_no_summary_in_a_list_of_commands_is_cut(group: str, columns: int) -> None:
    text = help_of(group, columns)
    shown = " ".join(text.partition("\nCommands:\n")[2].split())
    for name, command in COMMANDS[group].commands.items():
        sentence = re.match(r".+?\.(?=\s|$)", " ".join(command.help.split()))
        assert sentence and f"{name} {sentence[0]}" in shown
    assert "..." not in text.replace("COMMAND [ARGS]...", "")


@pytest.mark.parametrize("group", GROUPS)
def test_every_summary_is_one_line_of_eighty_characters(group: str) -> None:
    names = COMMANDS[group].commands
    lines = help_of(group).partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(lines) == len(names) and max(map(len, lines)) <= 80


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_says_what_it_is_for_and_what_its_parameters_are(words: str) -> None:
    command = COMMANDS[words]
    assert re.match(r"[A-Z][a-z]+.*\.$", command.help, re.DOTALL)
    assert [parameter.name for parameter in command.params if not parameter.help] == []
    # Lines are broken at hyphens, too.
    text = "".join(help_of(words).split())
    assert [p.name for p in command.params if "".join(p.help.split()) not in text] == []


def test_every_command_has_examples_and_no_other_has() -> None:
    assert list(EXAMPLES) == list(COMMANDS) and all(EXAMPLES.values())


@pytest.mark.parametrize("words", COMMANDS)
def test_examples_stand_whole_at_the_end_of_the_help(words: str) -> None:
    lines = [f"  {line}" for line in EXAMPLES[words]]
    assert help_of(words, 50).endswith("\n".join(["\nExamples:", *lines, ""]))
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("words", "line"), LINES)
def test_examples_can_be_parsed(words: str, line: str) -> None:
    name, *arguments = shlex.split(line.partition(" > ")[0])
    assert name == "clan-tf"
    found, context = parse(ROOT_COMMAND, arguments)
    assert found == words or (words in GROUPS and found.startswith(words))
    config, overrides = context.params.get("config"), context.params.get("overrides") or ()
    if "given" in context.params:
        read = ExperimentArguments.read(context.params)
        config, overrides = read.config, read.overrides
    if config in shipped_configs():
        load_experiment(config, overrides)
    else:
        assert config in (None, "my.yaml", "photos/birds")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train --epoch 3", "No such option"),
        ("report a b", "unexpected extra argument"),
        ("export RUN", "Missing parameter: format"),
        ("predict RUN photo.jpg --top many", "valid integer"),
    ],
)
def test_the_parser_of_examples_sees_mistakes(line: str, expected: str) -> None:
    with pytest.raises(Exception, match=expected):
        parse(ROOT_COMMAND, line.split())


def parse(command: Any, arguments: list[str], words: str = "", parent: Any = None) -> tuple[str, Any]:
    """Parses a command line as Click does, down to the command that it names, which isn't run."""
    name = words.rpartition(" ")[2] or "clan-tf"
    context = command.make_context(name, list(arguments), parent=parent)
    if not hasattr(command, "commands") or "--help" in arguments:
        return words, context
    word, *rest = context._protected_args + context.args
    return parse(command.commands[word], rest, f"{words} {word}".strip(), context)
