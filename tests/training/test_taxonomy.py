"""A run whose classes have levels: from the table to the models, the answers and a resume."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import load_experiment
from clan_tf.errors import UserError
from clan_tf.inference import predict
from clan_tf.models import load_model
from clan_tf.models.build import build_model
from clan_tf.run import RunDirectory
from clan_tf.training import train
from helpers import TINY_DEMO
from helpers.sources import write_lines

ROWS = ["red bird,warm", '"blue, small",cold', "grün,cold"]


def settings(root: Path, table: Path) -> list[str]:
    return [
        "data={source: folders, image_size: 32, resize_size: null, validation_fraction: 0.25}",
        f"data.root={root}",
        f"data.taxonomy={table}",
        "training={epochs: 1, batch_size: 9, calibrate: none}",
    ]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "temper.csv"
    write_lines(path, "class,temper", *ROWS)
    return path


@pytest.fixture(scope="module")
def run(colour_folders: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    experiment = load_experiment(TINY_DEMO, settings(colour_folders, table))
    return train(experiment, str(tmp_path_factory.mktemp("levels") / "run")).run


def test_training_gives_both_models_the_taxonomy(run: RunDirectory, colour_folders: Path) -> None:
    for path in (run.best, run.last):
        taxonomy = load_model(path).taxonomy
        assert taxonomy is not None and taxonomy.levels == ("class", "temper")
        assert dict(taxonomy.rows) == {"red bird": "warm", "blue, small": "cold", "grün": "cold"}
    (answer,) = predict(str(run.path), colour_folders / "test" / "grün" / "0.jpg", level="temper")
    assert {one["label"] for one in answer["predictions"]} == {"warm", "cold"}
    assert sum(one["probability"] for one in answer["predictions"]) == pytest.approx(1)


def test_a_run_is_resumed_with_the_same_table_wherever_it_is_now_and_with_no_other(
    run: RunDirectory, table: Path, colour_folders: Path, tmp_path: Path
) -> None:
    status = run.path / "status.json"
    finished = status.read_text(encoding="utf-8")
    moved, other = tmp_path / "moved.csv", tmp_path / "other.csv"
    moved.write_bytes(table.read_bytes())
    write_lines(other, "class,temper", *(row.replace("warm", "hot") for row in ROWS))
    try:
        run.write_status("stopped")
        with pytest.raises(UserError, match="data.taxonomy isn't the taxonomy that the run began with"):
            train(load_experiment(TINY_DEMO, settings(colour_folders, other)), str(run.path), resume=True)
        resumed = train(load_experiment(TINY_DEMO, settings(colour_folders, moved)), str(run.path), resume=True)
        assert resumed.outcome.epochs == 1
    finally:
        status.write_text(finished, encoding="utf-8")


def test_every_architecture_takes_one() -> None:
    names = [f"class {index}" for index in range(4)]
    table = [["class", "group"], *([name, "ab"[index % 2]] for index, name in enumerate(names))]
    for architecture in ("clan", "cbp", "dbt"):
        experiment = load_experiment(TINY_DEMO, ["data.image_size=32", f"model={{architecture: {architecture}}}"])
        plain = build_model(experiment, 4, names, load_weights=False)
        given = type(plain).from_config({**plain.get_config(), "taxonomy": table})
        assert given.taxonomy is not None and given.taxonomy.to_table() == table and plain.taxonomy is None
        built = build_model(experiment, 4, names, load_weights=False, taxonomy=given.taxonomy)
        assert built.taxonomy == given.taxonomy


def test_data_check_says_what_is_wrong_with_the_table_before_training(colour_folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    write_lines(path, "class,temper", *ROWS[1:], "owl,cold")
    words = [word for value in settings(colour_folders, path) for word in ("--set", value)]
    checked = CliRunner().invoke(app, ["data", "check", TINY_DEMO, *words, "--json"])
    report = json.loads(checked.stdout)
    assert checked.exit_code == 1 and report["problems"] == [f"data.taxonomy: {path}: no row for the class 'red bird'."]
    write_lines(path, "class,temper", *ROWS, "owl,cold")
    report = json.loads(CliRunner().invoke(app, ["data", "check", TINY_DEMO, *words, "--json"]).stdout)
    assert report["problems"] == [] and "1 row of classes that the data doesn't have" in report["notes"][-1]
