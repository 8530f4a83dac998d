"""What the commands print besides their results: tables and progress."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from clan_tf.cli import console
from clan_tf.cli.console import ConsoleProgress, print_table


def test_numbers_are_aligned_to_the_right_and_texts_to_the_left(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a", "1,024", "12.5 %", "robin", "1.5 MB"), ("bcd", "7", "3.25 %", "x", "…")]
    print_table("Title", ("name", "count", "share", "such as", "size"), rows)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert lines == [
        "│ a    │ 1,024 │ 12.5 % │ robin   │ 1.5 MB │",
        "│ bcd  │     7 │ 3.25 % │ x       │      … │",
    ]


@pytest.fixture
def seconds_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock forward."""
    clock = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])

    def forward(seconds: float) -> None:
        clock[0] += seconds

    return forward


def test_a_log_gets_a_line_of_progress_every_half_minute(
    seconds_pass: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with ConsoleProgress().track("reading photos", 7200) as advance:
        for _ in range(90):
            seconds_pass(1)
            advance("loss 1.5")
    assert capsys.readouterr().err.splitlines() == [
        "reading photos: 30 of 7,200, about 1 h 59 min left, loss 1.5",
        "reading photos: 60 of 7,200, about 1 h 59 min left, loss 1.5",
        "reading photos: 90 of 7,200, about 1 h 58 min left, loss 1.5",
    ]


def test_a_log_gets_no_progress_of_short_work(
    seconds_pass: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with ConsoleProgress().track("reading photos", 20) as advance:
        for _ in range(20):
            seconds_pass(1)
            advance()
    assert capsys.readouterr().err == ""


def test_keras_is_imported_without_its_wrappers_of_scikit_learn_which_works_all_the_same() -> None:
    code = """
import sys
from clan_tf.cli.console import quiet_tensorflow
quiet_tensorflow()
assert "keras" in sys.modules and "sklearn" not in sys.modules
from sklearn.metrics import confusion_matrix
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
