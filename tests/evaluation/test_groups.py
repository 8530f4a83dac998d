"""Intervals over groups of photos, against loops over the same draws; their way from `data.group` into every file."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import DataConfig, load_experiment
from clan_tf.data import Photo
from clan_tf.data.sources.read import regrouped
from clan_tf.errors import UserError
from clan_tf.evaluation import Estimate, Groups, Share, calibration_figures, evaluate
from clan_tf.evaluation.confusion import confusion_figures, estimated_figures
from clan_tf.evaluation.groups import RESAMPLES, draws
from clan_tf.evaluation.levels import level_figures
from clan_tf.evaluation.metrics import shares_over_groups
from clan_tf.evaluation.selective import selective_figures
from clan_tf.files import write_text
from clan_tf.rejection import Rejection
from clan_tf.report import write_report
from clan_tf.run import RunDirectory
from clan_tf.taxonomy import Taxonomy
from helpers.data_check import encoded, picture
from helpers.intervals import corrected_by_hand
from helpers.sources import write_lines

Answers = tuple[np.ndarray, np.ndarray, Groups]


@pytest.fixture
def answers(rng: np.random.Generator) -> Answers:
    """Labels and probabilities of 120 photos of 4 classes, in 18 groups of 1 to 12 photos that are alike."""
    groups = Groups.of(rng.choice(18, 120, p=np.arange(1, 19) / 171).tolist())
    logits = rng.normal(0, 2, (120, 4)) + rng.normal(0, 2, (len(groups), 4))[groups.ids]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.where(rng.random(120) < 0.6, probabilities.argmax(axis=1), rng.integers(0, 4, 120)), probabilities, groups


def resamples(groups: Groups) -> list[np.ndarray]:
    """The photos of each resample, group after group."""
    members = [np.flatnonzero(groups.ids == group) for group in range(len(groups))]
    return [np.concatenate([members[group] for group in drawn]) for some in draws(len(groups)) for drawn in some]


def bounds(drawn: list[Any]) -> list[float]:
    return np.percentile(np.array(drawn, dtype="float64"), (2.5, 97.5)).tolist()


def test_groups_are_numbered_by_their_first_photos() -> None:
    groups = Groups.of(["b", "a", "b", "c"])
    assert groups.ids.tolist() == [0, 1, 0, 2] and len(groups) == 3
    assert groups.subset(np.array([False, True, False, True])).ids.tolist() == [0, 1]


def test_a_resample_has_as_many_groups_as_there_are_and_all_their_photos(answers: Answers) -> None:
    groups, photos = answers[2], np.arange(120)
    expected = resamples(groups)
    assert len(expected) == RESAMPLES and len(draws(18).__next__()[0]) == 18
    for own, drawn in zip(expected, groups.resamples(), strict=True):
        assert np.sort(own).tolist() == drawn.tolist()
    sums = groups.resampled_sums(np.stack([photos, photos**2], axis=1))
    assert sums.tolist() == [[own.sum(), (own**2).sum()] for own in expected]


def test_an_estimate_is_that_of_a_loop_over_the_same_draws(answers: Answers) -> None:
    values, groups = answers[1][:, 0], answers[2]
    estimate = Estimate.of(lambda numbers: np.median(numbers, axis=-1), values, groups=groups)
    assert estimate.value == np.median(values)
    assert [estimate.low, estimate.high] == bounds([np.median(values[own]) for own in resamples(groups)])


def test_shares_are_those_of_loops_over_the_same_draws(answers: Answers) -> None:
    labels, probabilities, groups = answers
    right, scores = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    share = Share.of_photos(right, groups)
    assert (share.right, share.photos, share.value) == (right.sum(), 120, right.mean())
    assert [share.low, share.high] == pytest.approx(bounds([right[own].mean() for own in resamples(groups)]))
    for point in selective_figures(labels, probabilities, None, groups).points():
        drawn = [own[scores[own] >= point.threshold] for own in resamples(groups)]
        assert [point.error.low, point.error.high] == pytest.approx(bounds([1 - right[own].mean() for own in drawn]))


def test_averages_are_those_of_a_loop_over_the_same_draws(answers: Answers) -> None:
    labels, probabilities, groups = answers
    predicted = probabilities.argmax(axis=1)

    def figures(own: np.ndarray) -> dict[str, Any]:
        matrix = confusion_matrix(labels[own], predicted[own], labels=range(4))
        return confusion_figures(matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix))

    value, drawn = figures(np.arange(120)), [figures(own) for own in resamples(groups)]
    for name, estimate in estimated_figures(labels, predicted, 4, groups).items():
        lowest = -1 if name == "matthews_correlation" else 0
        own = [float(each[name]) for each in drawn]
        is_recall = name in ("balanced_accuracy", "macro_recall")
        expected = bounds(own) if is_recall else corrected_by_hand(float(value[name]), own, lowest)
        assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-5), name


def test_many_resampled_matrices_are_computed_in_parts(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, predicted, groups = answers[0], answers[1].argmax(axis=1), answers[2]
    whole = estimated_figures(labels, predicted, 4, groups)
    monkeypatch.setattr("clan_tf.evaluation.confusion._NUMBERS", 16 * 7)
    assert estimated_figures(labels, predicted, 4, groups) == whole


def test_the_width_is_the_known_one_of_means_of_equal_groups(rng: np.random.Generator) -> None:
    """Of 60 groups of 8 photos: the standard error is that of the mean of 60 numbers."""
    means = rng.normal(0, 3, 60)
    values = (means[:, None] + rng.normal(0, 1, (60, 8))).ravel()
    estimate = Estimate.of(lambda numbers: numbers.mean(axis=-1), values, groups=Groups.of(np.arange(480) // 8))
    width = 2 * 1.96 * values.reshape(60, 8).mean(axis=1).std() / 60**0.5
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.08)
    alone = Estimate.of(lambda numbers: numbers.mean(axis=-1), values)
    assert alone.high - alone.low < width / 2


def test_copies_within_groups_make_no_interval_narrower(answers: Answers) -> None:
    """120 photos, each six times, have the intervals of the 120; those over photos are narrower."""
    labels, probabilities = answers[:2]
    often = np.repeat(np.arange(120), 6)
    groups, singles = Groups.of(often.tolist()), Groups.of(range(120))
    taxonomy = Taxonomy.of([["class", "genus"], ["a", "x"], ["b", "x"], ["c", "y"], ["d", "y"]], [*"abcd"])

    def figures(of: np.ndarray, own: Groups | None) -> dict[str, Estimate | Share]:
        selective = selective_figures(labels[of], probabilities[of], Rejection(0.1, (0.6,)), own)
        levels = level_figures(taxonomy, labels[of], probabilities[of], own)
        assert selective.answered and selective.error and levels and levels.mean_height
        return {
            **calibration_figures(labels[of], probabilities[of], own),
            **estimated_figures(labels[of], probabilities[of].argmax(axis=1), 4, own),
            **{f"error at {point.threshold}": point.error for point in selective.points()},
            "answered": selective.answered,
            "error": selective.error,
            "height": levels.mean_height,
            "genus": levels.accuracy[1].accuracy,
        }

    grouped, alone, naive = figures(often, groups), figures(np.arange(120), singles), figures(often, None)
    plain = figures(np.arange(120), None)
    for name, one in grouped.items():
        assert (one.value, one.low, one.high) == pytest.approx((alone[name].value, alone[name].low, alone[name].high))
        assert one.high - one.low == pytest.approx(plain[name].high - plain[name].low, rel=0.15), name
        assert naive[name].high - naive[name].low < 0.7 * (one.high - one.low), name


def test_a_share_that_all_resamples_have_gets_the_interval_of_so_many_groups() -> None:
    groups = Groups.of(np.arange(40) // 4)
    for right in (np.ones(40, bool), np.zeros(40, bool)):
        share, wilson = Share.of_photos(right, groups), Share.of(10 * right[0], 10)
        assert (share.low, share.high, share.photos) == (wilson.low, wilson.high, 40)


def test_a_share_of_the_photos_of_one_group_has_a_wide_interval() -> None:
    groups, shown = Groups.of(np.arange(40) // 4), np.arange(40) < 4
    (share,) = shares_over_groups((np.arange(40) < 3)[:, None], shown[:, None], groups)
    assert (share.right, share.photos, share.value) == (3, 4, 0.75)
    assert share.low < 0.3 and share.high == 1


@pytest.fixture(scope="module")
def grouped_run(trained_run: RunDirectory, colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose 15 test photos are in 5 groups, `0.jpg` of all classes and so on, that hold 3 each."""
    return with_data(trained_run, tmp_path_factory.mktemp("grouped") / "run", r"data.group=path:^test/.*/(\d+)\.jpg")


def with_data(run: RunDirectory, path: Path, *keys: str) -> Path:
    """A copy of a run that has other keys of `data`, and isn't evaluated yet."""
    shutil.copytree(run.path, path, ignore=shutil.ignore_patterns("evaluation", "tensorboard"))
    write_text(path / "config.yaml", load_experiment(path / "config.yaml", keys).to_yaml())
    return path


def test_an_evaluation_is_over_the_groups_of_the_runs_photos(grouped_run: Path, trained_run: RunDirectory) -> None:
    grouped, plain = evaluate(str(grouped_run)), evaluate(str(trained_run.path))
    assert (grouped.groups, plain.groups) == (5, None)
    answer = grouped.to_json()
    assert (answer["intervals"], answer["groups"]) == ("groups", 5)
    assert plain.to_json()["intervals"] == "photos" and "groups" not in plain.to_json()
    with (grouped.folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = np.array([row["combined"] == row["true"] for row in rows])
    expected = Share.of_photos(right, Groups.of(Path(row["photo"]).name for row in rows))
    top1 = grouped.averages["top1"]
    assert (top1.value, top1.low, top1.high) == (expected.value, expected.low, expected.high)
    assert answer["selective"]["curve"][-1]["error"]["low"] == pytest.approx(1 - expected.high)
    assert any(
        "the 15 test photos are of 5 groups, which are few: 95 % intervals are rough" in n for n in grouped.notes
    )
    wilson = Share.of(int(right.sum()), 15)
    assert (plain.averages["top1"].low, plain.averages["top1"].high) == (wilson.low, wilson.high)
    assert plain.notes == ()


def test_the_command_and_the_report_say_what_intervals_are_over(grouped_run: Path, trained_run: RunDirectory) -> None:
    sentence = "95 % intervals are by a bootstrap over 5 groups of photos (data.group)"
    shown = CliRunner().invoke(app, ["evaluate", str(grouped_run)])
    assert shown.exit_code == 0 and sentence in shown.output
    page = write_report(str(grouped_run)).read_text(encoding="utf-8")
    top1 = json.loads((grouped_run / "evaluation" / "test" / "metrics.json").read_text())["averages"]["top1"]
    assert sentence in page and "(Wilson score)" not in page
    assert f"95 % interval {100 * top1['low']:.1f} to {100 * top1['high']:.1f} %" in page
    assert "bootstrap over" not in CliRunner().invoke(app, ["evaluate", str(trained_run.path)]).output


def test_a_column_of_the_table_gives_the_groups(
    trained_run: RunDirectory, colour_folders: Path, tmp_path: Path
) -> None:
    rows = []
    for photo in sorted(colour_folders.rglob("*.jpg")):
        split, name, file = photo.relative_to(colour_folders).parts
        rows.append(f'"{split}/{name}/{file}","{name}",{split},Zoë {int(photo.stem) // 2}')
    write_lines(tmp_path / "photos.csv", "path,label,split,animal", *rows)
    keys = ["data.source=csv", f"data.csv={tmp_path / 'photos.csv'}", "data.group=column:animal"]
    run = with_data(trained_run, tmp_path / "run", *keys)
    assert evaluate(str(run)).groups == 3
    write_lines(tmp_path / "photos.csv", "path,label,split", *(row.rpartition(",")[0] for row in rows))
    result = evaluate(str(run))
    assert result.groups is None and result.to_json()["intervals"] == "photos"
    assert any("as independent, because no groups are found. data.group: " in note for note in result.notes)
    assert any("has no column 'animal'" in note for note in result.notes)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("path:^(test)/", "are of 1 group, from which no interval over groups can be had"),
        ("path:^test/[^/]*?([lr])", "are of 2 groups, from which no interval over groups can be had"),
        ("path:(.+)", "no two test photos are in one group"),
        ("path:/(elsewhere)/", "no groups are found. data.group: path:/(elsewhere)/ matches none of 15 photos"),
    ],
)
def test_groups_that_give_no_interval_are_told(
    trained_run: RunDirectory, tmp_path: Path, expression: str, said: str
) -> None:
    result = evaluate(str(with_data(trained_run, tmp_path / "run", f"data.group={expression}")))
    assert result.groups is None and result.to_json()["intervals"] == "photos"
    assert any(said in note for note in result.notes), result.notes
    assert result.averages == evaluate(str(trained_run.path)).averages


def test_near_copies_among_the_evaluated_photos_are_groups(tmp_path: Path) -> None:
    photos = []
    for number in range(4):
        for quality in (95, 60):
            path = tmp_path / f"{number}_{quality}.jpg"
            path.write_bytes(encoded(picture(number), quality=quality))
            photos.append(Photo(str(path), 0))
    found = regrouped(photos, DataConfig(root=tmp_path, group="copies"))
    assert Groups.of(photo.group for photo in found).ids.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_top_k_is_told_with_its_interval(trained_run: RunDirectory, tmp_path: Path) -> None:
    words = ["evaluate", str(trained_run.path), "--output", str(tmp_path / "top"), "--top", "2"]
    answer = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert all(list(scores) == ["top1", "top2"] for scores in answer["branches"].values())
    top = answer["averages"]["top2"]
    share = Share.of(round(15 * top["value"]), 15)
    assert top == {"value": answer["branches"]["combined"]["top2"], "low": share.low, "high": share.high}
    assert answer["averages"]["top1"]["value"] <= top["value"]
    shown = CliRunner().invoke(app, words).output
    assert "top-2" in shown and "top-2 accuracy" in shown
    plain = evaluate(str(trained_run.path))
    assert set(plain.combined) == {"top1"} and "top2" not in plain.averages
    with (tmp_path / "top" / "averages.csv").open(encoding="utf-8") as file:
        assert [row["figure"] for row in csv.DictReader(file)][:2] == ["top1", "top2"]


@pytest.mark.parametrize("rank", ["0", "4", "-1"])
def test_a_rank_that_no_class_has_is_refused(trained_run: RunDirectory, rank: str) -> None:
    failed = CliRunner().invoke(app, ["evaluate", str(trained_run.path), "--top", rank])
    assert isinstance(failed.exception, UserError)
    assert str(failed.exception) == f"--top: must be from 1 to 3, the number of the model's classes; received {rank}."


def test_the_confusion_matrix_is_written_as_shares_if_asked_for(trained_run: RunDirectory, tmp_path: Path) -> None:
    words = ["evaluate", str(trained_run.path), "--output"]
    for folder, options in (("counts", []), ("shares", ["--normalize-confusion"])):
        done = CliRunner().invoke(app, [*words, str(tmp_path / folder), *options])
        assert done.exit_code == 0, done.output
    counts, shares = (rows_of(tmp_path / folder / "confusion.csv") for folder in ("counts", "shares"))
    assert counts.sum() == 15 and counts.dtype == np.int64
    assert shares == pytest.approx(counts / 5, abs=1e-6)
    pictures = [(tmp_path / folder / "confusion.png").read_bytes() for folder in ("counts", "shares")]
    assert pictures[0] != pictures[1]
    with pytest.raises(UserError, match="--normalize-confusion: no confusion matrix is written.*--output D"):
        evaluate(str(trained_run.path), overrides=["data.image_size=32"], normalize_confusion=True)


@pytest.mark.parametrize(("options", "column"), [([], "photos"), (["--normalize-confusion"], "share")])
def test_of_many_classes_only_the_cells_that_are_not_0_are_written(
    trained_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], column: str
) -> None:
    words = ["evaluate", str(trained_run.path), "--output", str(tmp_path / "tables"), *options]
    assert CliRunner().invoke(app, words).exit_code == 0
    whole = rows_of(tmp_path / "tables" / "confusion.csv")
    monkeypatch.setattr("clan_tf.evaluation.tables.DRAWN", 2)
    done = CliRunner().invoke(app, words)
    assert "of 3 classes, more than 2, confusion.csv lists the cells" in done.output
    assert not (tmp_path / "tables" / "confusion.png").exists()
    names = ["blue, small", "grün", "red bird"]
    with (tmp_path / "tables" / "confusion.csv").open(encoding="utf-8") as file:
        cells = {(names.index(row["true"]), names.index(row["predicted"])): row[column] for row in csv.DictReader(file)}
    assert {place: json.loads(value) for place, value in cells.items()} == {
        (row, column): whole[row, column] for row, column in np.argwhere(whole).tolist()
    }


def rows_of(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8") as file:
        return np.array([[json.loads(cell) for cell in list(row.values())[1:]] for row in csv.DictReader(file)])
