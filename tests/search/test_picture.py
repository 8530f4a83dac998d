"""The picture of a search: a line per trial through its values to its objective."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clan_tf.search import SearchConfig, picture
from clan_tf.search.directory import Repeat, TrialResult

SPACE = {
    "training.learning_rate": {"kind": "float", "min": 0.001, "max": 0.1, "sampling": "log"},
    "model.relation": {"kind": "choice", "values": ["gaussian", "dot_product"]},
    "training.momentum": {"kind": "float", "min": 0.5, "max": 0.9, "when": {"model.relation": "gaussian"}},
}
VALUES = (
    {"training.learning_rate": 0.01, "model.relation": "gaussian", "training.momentum": 0.9},
    {"training.learning_rate": 0.001, "model.relation": "dot_product"},
    {"training.learning_rate": 0.1, "model.relation": "gaussian", "training.momentum": 0.5},
)
SCORES = (0.75, 0.5, 0.25)


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> Axes:
    """What is drawn of three trials, from the best to the worst."""
    drawn: list[Figure] = []
    monkeypatch.setattr(picture, "save_figure", lambda figure, path: drawn.append(figure))
    ranked = [trial(name, values, score) for name, values, score in zip("021", VALUES, SCORES, strict=True)]
    search = SearchConfig.model_validate({"parameters": SPACE, "algorithm": "random", "trials": 3})
    picture.plot_trials(ranked, search, Path())
    return drawn[0].axes[0]


def trial(name: str, values: dict[str, Any], score: float) -> TrialResult:
    return TrialResult(name, values, (Repeat(0, score, 1, 1.0),))


def lines(axes: Axes) -> list[Line2D]:
    """Those of the trials, from the best to the worst: the best is drawn last, above the others."""
    return [line for line in axes.lines if len(line.get_xdata()) == len(SPACE) + 1][::-1]


def height(axes: Axes, column: int, label: str) -> float:
    """Where a label stands on the axis of a key, or of the objective."""
    (found,) = [y for x, y, text in texts(axes) if (round(x), text) == (column, label)]
    return found


def texts(axes: Axes) -> list[tuple[float, float, str]]:
    return [(*text.get_position(), text.get_text()) for text in axes.texts]


def test_every_trial_is_a_line_through_its_values_to_its_objective(axes: Axes) -> None:
    heights = np.array([line.get_ydata() for line in lines(axes)])
    assert heights.shape == (3, 4)
    # On a logarithmic axis 0.01 lies in the middle between 0.001 and 0.1.
    np.testing.assert_allclose(heights[:, 0], [0.5, 0, 1], atol=1e-9)
    for index, values in enumerate(VALUES):
        near = [abs(heights[index, 1] - height(axes, 1, label)) for label in SPACE["model.relation"]["values"]]
        assert SPACE["model.relation"]["values"][int(np.argmin(near))] == values["model.relation"]
    assert heights[0, 2] == height(axes, 2, "0.9") and heights[2, 2] == height(axes, 2, "0.5")
    assert heights[1, 2] == height(axes, 2, "(not used)") < heights[2, 2]
    assert heights[0, 3] == height(axes, 3, "0.75") and heights[2, 3] == height(axes, 3, "0.25")
    assert heights[0, 3] - heights[1, 3] == pytest.approx(heights[1, 3] - heights[2, 3])


def test_the_best_trial_stands_out(axes: Axes) -> None:
    best, *others = lines(axes)
    assert same_color(best.get_color(), "crimson")
    assert all(line.get_linewidth() < best.get_linewidth() for line in others)
    assert all(not same_color(line.get_color(), "crimson") for line in others)
    assert "3 trials; the best, 0.75" in axes.get_title()


def test_every_axis_has_the_name_of_its_key(axes: Axes) -> None:
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["training\nlearning_rate", "model\nrelation", "training\nmomentum", "val\ncombined_accuracy"]
    scale = [text for x, _, text in texts(axes) if round(x) == 0]
    assert scale == ["0.001", "0.0046", "0.022", "0.1"]
