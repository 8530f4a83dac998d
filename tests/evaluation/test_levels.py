"""Accuracy by level and the severity of mistakes, against loops; in the evaluation's files and the report."""

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.evaluation import evaluate
from clan_tf.evaluation.levels import level_figures, mean_height_text, severity_rows
from clan_tf.models import load_model, save_model
from clan_tf.report import write_report
from clan_tf.run import RunDirectory
from clan_tf.taxonomy import Taxonomy

NAMES = [f"class {index}" for index in range(6)]
GENERA, FAMILIES = ["a", "a", "b", "b", "c", "d"], ["A", "A", "A", "A", "A", "D"]
ROWS = [*zip(NAMES, GENERA, FAMILIES, strict=True)]
TAXONOMY = Taxonomy.of([["class", "genus", "family"], *map(list, ROWS)], NAMES)


def test_figures_are_those_of_loops_over_the_photos(rng: np.random.Generator) -> None:
    labels, probabilities = rng.integers(0, 6, 200), rng.dirichlet(np.full(6, 0.7), 200)
    figures = level_figures(TAXONOMY, labels, probabilities)
    assert figures is not None
    right, shared, lowest = [0, 0, 0], [0, 0, 0], [0, 0, 0, 0]
    for label, row in zip(labels, probabilities, strict=True):
        for level in range(3):
            sums: dict[str, float] = {}
            for index, value in enumerate(row):
                sums[ROWS[index][level]] = sums.get(ROWS[index][level], 0) + value
            right[level] += max(sums, key=sums.__getitem__) == ROWS[label][level]
        guess = int(np.argmax(row))
        if guess != label:
            same = [level for level in range(3) if ROWS[guess][level] == ROWS[label][level]]
            lowest[min(same, default=3)] += 1
            for level in same:
                shared[level] += 1
    mistakes = sum(lowest)
    assert mistakes == 200 - right[0] and lowest[0] == 0 and min(lowest[1:]) > 0
    for level, one in enumerate(figures.accuracy):
        assert (one.level, one.labels) == (("class", "genus", "family")[level], (6, 4, 2)[level])
        assert (one.accuracy.right, one.accuracy.photos) == (right[level], 200)
        interval = binomtest(right[level], 200).proportion_ci(method="wilson")
        assert (one.accuracy.low, one.accuracy.high) == pytest.approx((interval.low, interval.high))
        assert (one.shared.right, one.shared.photos) == (shared[level], mistakes) if one.shared else level == 0
    assert [(one.common, one.height, one.mistakes.right) for one in figures.severity] == [
        ("genus", 1, lowest[1]),
        ("family", 2, lowest[2]),
        (None, 3, lowest[3]),
    ]
    mean = (lowest[1] + 2 * lowest[2] + 3 * lowest[3]) / mistakes
    assert figures.mean_height is not None and figures.mean_height.value == pytest.approx(mean)
    assert figures.mean_height.low < mean < figures.mean_height.high
    assert [row[0] for row in severity_rows(figures)] == ["genus", "family", "(root)"]


def test_without_mistakes_there_is_no_severity_and_without_a_taxonomy_nothing() -> None:
    figures = level_figures(TAXONOMY, np.arange(6), np.eye(6))
    assert figures is not None and figures.severity == [] and figures.mean_height is None
    assert [one.accuracy.value for one in figures.accuracy] == [1, 1, 1] and figures.accuracy[1].shared is None
    assert mean_height_text(figures) == "There are no mistakes."
    assert level_figures(None, np.arange(6), np.eye(6)) is None


@pytest.mark.parametrize(
    ("predicted", "mean", "low", "high"),
    # Of one mistake, up to 79 % of all others may be of another height, of three up to 56 % (Wilson).
    [
        ([1], 1, 1, 1 + 2 * 0.7935),
        ([1, 1, 1], 1, 1, 1 + 2 * 0.5615),
        ([5, 5], 3, 3 - 2 * 0.6576, 3),
        ([2], 2, 1.2065, 2.7935),
    ],
)
def test_mistakes_of_one_height_have_an_interval_of_their_number(
    predicted: list[int], mean: float, low: float, high: float
) -> None:
    figures = level_figures(TAXONOMY, np.zeros(9, int), np.eye(6)[[*predicted, *[0] * (9 - len(predicted))]])
    assert figures is not None and figures.mean_height is not None
    height = figures.mean_height
    assert (height.value, height.low, height.high) == (
        mean,
        pytest.approx(low, abs=1e-3),
        pytest.approx(high, abs=1e-3),
    )


@pytest.fixture(scope="module")
def run(trained_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A copy of the run of three colours whose best model has a taxonomy, and answers more or less at random."""
    path = tmp_path_factory.mktemp("levels") / "run"
    shutil.copytree(trained_run.path, path)
    run = RunDirectory(path)
    model = load_model(run.best)
    rows = [[name, "cold" if name.startswith("blue") else "warm"] for name in model.class_names]
    settings = {**model.get_config(), "taxonomy": [["class", "temper"], *rows]}
    other = type(model).from_config(settings)
    rng = np.random.default_rng(0)
    other.set_weights([weight + rng.normal(0, 0.2, weight.shape) for weight in model.get_weights()])
    save_model(other, run.best)
    return run


def test_an_evaluation_prints_and_writes_them_and_the_report_shows_them(run: RunDirectory) -> None:
    result = evaluate(str(run.path))
    assert result.levels is not None and result.folder is not None
    with (result.folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wrong = [row for row in rows if row["combined"] != row["true"]]
    assert wrong and result.levels.accuracy[0].accuracy.right == len(rows) - len(wrong)
    alike = [row for row in wrong if row["true"].startswith("blue") == row["combined"].startswith("blue")]
    assert result.levels.severity[0].mistakes.right == len(alike)
    with (result.folder / "levels.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["level"] for row in table] == ["class", "temper", "(root)"]
    assert float(table[0]["accuracy"]) == pytest.approx(result.combined["top1"])
    assert float(table[1]["mistakes_shared"]) == pytest.approx(len(alike) / len(wrong))
    assert table[2]["accuracy"] == "" and float(table[2]["mistakes_here"]) == pytest.approx(1 - len(alike) / len(wrong))
    written = json.loads((result.folder / "metrics.json").read_text(encoding="utf-8"))
    assert written["levels"] == json.loads(json.dumps(asdict(result.levels)))
    shown = CliRunner().invoke(app, ["evaluate", str(run.path)])
    assert shown.exit_code == 0 and "Accuracy by level" in shown.stdout and "temper" in shown.stdout
    assert mean_height_text(result.levels).split(":")[0] in shown.stdout
    page = write_report(str(run.path)).read_text(encoding="utf-8")
    assert "Severity of the mistakes" in page and '<th scope="row">temper</th>' in page


def test_an_evaluation_without_a_taxonomy_leaves_no_table_of_another(trained_run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "levels.csv").write_text("of another model", encoding="utf-8")
    (tmp_path / "metrics.json").write_text('{"model": "other", "split": "test", "branches": {}}', encoding="utf-8")
    result = evaluate(str(trained_run.path), output=str(tmp_path))
    assert result.levels is None and "levels" not in result.to_json() and not (tmp_path / "levels.csv").exists()
