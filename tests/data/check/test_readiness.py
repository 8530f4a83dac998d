"""The check and training give the same verdict, and the advice can be followed."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import DataConfig, load_experiment, with_values
from clan_tf.data import survey_source
from clan_tf.data.check import require_ready, training_problems
from clan_tf.data.check.readiness import fitting_batch
from clan_tf.data.checked_photos import check_photos
from clan_tf.errors import UserError
from helpers import TINY_DEMO
from helpers.data_check import CLASSES, encoded, picture, run

VERDICTS = {
    "one photo a class": (
        {"a": 1, "b": 1, "c": 1},
        [],
        "no class has photos enough to cut one.*Add photos .*or give .*val/",
    ),
    "two photos a class": ({"a": 2, "b": 2}, [], "no class has photos enough to cut one after a test photo"),
    "fewer photos than a batch": ({"a": 9, "b": 9}, ["training.batch_size=30"], "batch_size: 30 is more than the"),
    "one class": ({"a": 9}, [], "one class"),
    "another number of classes": ({"a": 9, "b": 9}, ["data.classes=8"], "data.classes: is 8, and the data has 2"),
    "a weight of no class": ({"a": 9, "bee": 9}, ["training.class_weights={be: 2}"], "class 'be'. Did you mean bee"),
    "weights of nothing": ({"a": 9, "b": 9}, ["training.class_weights={a: 0, b: 0}"], "every class has the weight 0"),
    "one class twice": ({"a": 9, "b": 9}, ['training.class_weights={a: 2, " a": 3}'], "'a' and ' a' are the same"),
    "some classes with one or two photos": ({"a": 20, "b": 1, "c": 2}, [], ""),
    "photos enough": ({"a": 12, "b": 12}, [], ""),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_check_and_train_give_the_same_verdict_and_the_advice_runs(case: str, tmp_path: Path) -> None:
    counts, keys, expected = VERDICTS[case]
    numbers = iter(range(200))
    for name, count in counts.items():
        (tmp_path / "d" / name).mkdir(parents=True)
        for index in range(count):
            (tmp_path / "d" / name / f"{index}.jpg").write_bytes(encoded(picture(next(numbers))))
    keys = ["data.source=folders", f"data.root={tmp_path / 'd'}", "training.batch_size=4", *keys]
    words = [word for key in keys for word in ("--set", key)]
    checked = CliRunner().invoke(app, ["data", "check", *words])
    planned = CliRunner().invoke(app, ["train", *words, "--dry-run"])
    assert checked.exit_code == (1 if expected else 0), checked.output
    advised = [shlex.split(line)[1:] for line in checked.output.splitlines() if line.startswith("  clan-tf train ")]
    if expected:
        assert isinstance(planned.exception, UserError) and re.search(expected, str(planned.exception))
        assert str(planned.exception) in checked.output
        assert "Training can't start on these photos:" in checked.output and "ready for training" not in checked.output
    else:
        assert planned.exit_code == 0 and len(advised) == 1
    if case.startswith("some"):
        assert re.search("No validation photo is left for 'b'.*leave such classes out", checked.output)
    for command in advised:
        assert CliRunner().invoke(app, [*command, "--dry-run"]).exit_code == 0


def test_broken_photos_that_empty_a_class_keep_a_training_from_starting(root: Path) -> None:
    for path in (root / "train" / CLASSES[0]).iterdir():
        path.write_bytes(b"broken")
    source = survey_source(DataConfig(root=root))
    experiment = load_experiment(TINY_DEMO, ["training.batch_size=4"])
    checked = {split: check_photos(photos) for split, photos in source.splits.items()}
    with pytest.raises(UserError, match="No train photo of 'long beak' can be read") as refused:
        require_ready(experiment, source, checked)
    answer = json.loads(run(root, "--json", "--set", "data.on_broken=skip").stdout)
    assert answer["problems"] == [str(refused.value)] and answer["can_start"] is False


def test_the_smaller_batch_that_is_advised_fits_its_parts(root: Path) -> None:
    source = survey_source(DataConfig(root=root))
    for parts, batch in (
        (5, {"training.batch_size": 10}),
        (20, {"training.batch_size": 12, "training.accumulation": 1}),
        (8, {"training.batch_size": 12, "training.accumulation": 1}),
    ):
        experiment = load_experiment(TINY_DEMO, ["training.batch_size=40", f"training.accumulation={parts}"])
        assert fitting_batch(experiment, source) == batch
        assert not training_problems(with_values(experiment, batch), source)


def test_heads_that_normalise_their_features_need_two_photos_at_a_time(root: Path) -> None:
    source = survey_source(DataConfig(root=root))
    experiment = load_experiment(TINY_DEMO, ["training.batch_size=4", "training.accumulation=4"])
    (problem,) = training_problems(experiment, source)
    assert "which is one" in problem and problem.endswith("model.head_batch_norm=false.")
    for way_out in ({"training.accumulation": 2}, {"model.head_batch_norm": False}, {"model.architecture": "plain"}):
        assert training_problems(with_values(experiment, way_out), source) == []
