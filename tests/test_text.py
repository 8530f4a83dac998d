"""Texts for people."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from clan_tf.text import command_line, data_size, duration
from helpers import ROOT


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (307, "5 min 07 s"),
        (3599.6, "1 h 00 min"),
        (7507, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_a_duration_is_in_the_two_units_that_tell_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("path", ["a b", "it's", "$HOME", "ph;otos", "grün", "a\\b", "runs/birds-001"])
def test_a_command_in_a_message_can_be_pasted_into_a_shell(path: str) -> None:
    line = command_line("clan-tf", "train", "--run-dir", Path(path), "--resume")
    assert shlex.split(line) == ["clan-tf", "train", "--run-dir", path, "--resume"]


def test_a_path_in_a_command_is_no_option() -> None:
    assert command_line("clan-tf", "predict", Path("-run"), "--json") == "clan-tf predict ./-run --json"


def test_no_message_puts_a_name_into_a_command_without_quoting_it() -> None:
    begun = re.compile(r"(clan-tf( [a-z]+)+( [A-Z]+)*( --[a-z-]+)*|tensorboard|--(run-dir|logdir|quarantine)) $")
    for top in ("clan_tf", "cli", "export"):
        for file in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else []
                for before, after in zip(parts, parts[1:], strict=False):
                    if isinstance(before, ast.Constant) and isinstance(after, ast.FormattedValue):
                        assert not begun.search(before.value), f"{file}:{after.lineno}: {before.value}"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (999.6, "1.00 kB"),
        (1234, "1.23 kB"),
        (12_345, "12.3 kB"),
        (999_400, "999 kB"),
        (999_600, "1.00 MB"),
        (9_996_000, "10.0 MB"),
        (4.56e9, "4.56 GB"),
        (2.0482e12, "2,048 GB"),
    ],
)
def test_a_size_has_three_digits_in_the_unit_that_fits(size: float, text: str) -> None:
    assert data_size(size) == text
