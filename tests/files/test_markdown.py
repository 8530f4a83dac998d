"""Tables in Markdown, read again by another parser."""

import pytest
from markdown_it import MarkdownIt

from clan_tf.config import load_experiment
from clan_tf.reproduce.tables import markdown
from clan_tf.search.directory import TrialResult
from clan_tf.search.report import _markdown
from clan_tf.search.space import SearchConfig
from helpers import TINY_DEMO


def cells(text: str) -> list[list[str]]:
    """The texts of a page's tables as a reader sees them, row by row."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level == 4:
            rows[-1].append("".join(each.content for each in token.children or ()))
    return rows


NAMES = ("a|b", r"a\|b", "ends in \\", "two\nlines", "plain", "| |", r"\\")


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_holds_any_text(name: str) -> None:
    seen = " ".join(name.split("\n"))
    page = markdown(["Page"], ["key", name], [["x", name], ["y", "z"]], [])
    assert cells(page) == [["key", seen], ["x", seen], ["y", "z"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_leaderboard_of_a_search_holds_any_value(name: str) -> None:
    space = {"parameters": {"training.class_weights": {"kind": "choice", "values": [{name: 2.0}]}}, "trials": 1}
    result = TrialResult("0000", {"training.class_weights": {name: 2.0}}, (), "failed")
    table = cells(_markdown(load_experiment(TINY_DEMO), [result], SearchConfig.model_validate(space)))
    assert [len(row) for row in table] == [len(table[0])] * 2
    assert table[1][2] == str({name: 2.0})
