"""`--branches` reads the same names for every verb."""

import pytest
from typer.testing import CliRunner

from clan_tf.cli.branches import branch_names
from clan_tf.cli.main import app
from clan_tf.errors import UserError


def test_names_stand_between_commas_with_or_without_blanks() -> None:
    assert branch_names(None) is None
    assert branch_names("top") == branch_names(" top ") == ("top",)
    assert branch_names("mid_1,top") == branch_names("mid_1, top") == ("mid_1", "top")


@pytest.mark.parametrize("text", ["", " ", ",", "top,", "mid_1,,top"])
@pytest.mark.parametrize("words", ["evaluate run", "explain run a.png --output out", "export run --format tflite"])
def test_an_empty_name_is_a_mistake_for_every_verb(words: str, text: str) -> None:
    result = CliRunner().invoke(app, [*words.split(), "--branches", text])
    assert isinstance(result.exception, UserError)
    assert "--branches: must be names of branches" in str(result.exception) and repr(text) in str(result.exception)
