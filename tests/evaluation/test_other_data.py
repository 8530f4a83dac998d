"""A trained model on other labelled photos: folders, all splits, and some of its classes in any order."""

import csv
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn import metrics
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import load_experiment, with_values
from clan_tf.errors import UserError
from clan_tf.evaluation import Evaluation, evaluate, experiment_of, other_config
from clan_tf.export.comparison import Comparison
from clan_tf.inference import predict
from clan_tf.models import CLAN, save_model
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.taxonomy import Taxonomy
from helpers.models import randomize_heads
from helpers.notes import Notes
from helpers.photos import write_photo
from helpers.pictures import without_pictures

BLUE, GREEN, RED = (60, 60, 200), (60, 200, 60), (200, 60, 60)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """New photos without splits of two of the three classes, some of which look like the third."""
    for index in range(9):
        write_photo(tmp_path / "new" / "grün" / f"{index}.jpg", GREEN if index % 3 else RED)
        write_photo(tmp_path / "new" / "blue, small" / f"{index}.jpg", BLUE if index % 4 else RED)
    return tmp_path / "new"


def answers(result: Evaluation) -> tuple[list[str], list[str]]:
    """The true and the predicted classes."""
    with (result.folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["true"] for row in rows], [row["combined"] for row in rows]


def test_all_photos_of_a_folder_are_evaluated_as_scikit_learn_does(
    trained_run: RunDirectory, labelled: Path, tmp_path: Path
) -> None:
    result = evaluate(str(trained_run.path), "all", config=str(labelled), output=str(tmp_path / "out"))
    true, predicted = answers(result)
    present = sorted({*true})
    assert (len(true), present) == (18, ["blue, small", "grün"]) and result.split == "all"
    (note,) = [note for note in result.notes if "classes" in note]
    assert note.startswith("no photo of this data is of 1 of the model's 3 classes: 'red bird'; averages are over")
    assert not any("random" in note or "trained on" in note for note in result.notes)
    options = {"labels": present, "zero_division": 0}
    for average in ("macro", "weighted"):
        for name in ("precision", "f1"):
            expected = getattr(metrics, f"{name}_score")(true, predicted, average=average, **options)
            assert result.averages[f"{average}_{name}"].value == pytest.approx(expected)
    recalls = [np.mean([p == t for t, p in zip(true, predicted, strict=True) if t == name]) for name in present]
    assert result.averages["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    assert result.averages["matthews_correlation"].value == pytest.approx(metrics.matthews_corrcoef(true, predicted))
    assert [row["class"] for row in result.per_class] == present
    assert [row["accuracy"] for row in result.per_class] == pytest.approx(recalls)
    assert result.confusion.sum(axis=1).tolist() == [9, 9, 0]
    json.dumps(result.to_json(), allow_nan=False)


def test_a_folder_is_what_its_shown_config_is(trained_run: RunDirectory, labelled: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["config", "show", str(labelled)])
    (tmp_path / "my.yaml").write_text(shown.stdout, encoding="utf-8")
    results = [evaluate(str(trained_run.path), config=str(config)) for config in (labelled, tmp_path / "my.yaml")]
    for result in results:
        (note,) = [note for note in result.notes if "random" in note]
        assert f"no test split of its own: {result.photos} of its 18 photos" in note and "--split all takes all" in note
    assert results[0].photos < 18 and results[0].averages == results[1].averages
    overridden = experiment_of(Path("model"), trained_run, str(labelled), ["data.test_fraction=0.5"])
    assert overridden.data.test_fraction == 0.5 and overridden.name == trained_run.experiment().name


def test_one_photo_of_one_class_is_enough(trained_run: RunDirectory, labelled: Path) -> None:
    shutil.rmtree(labelled / "grün")
    for path in list((labelled / "blue, small").iterdir())[1:]:
        path.unlink()
    result = evaluate(str(trained_run.path), "all", config=str(labelled))
    assert result.photos == 1 and len(result.per_class) == 1
    json.dumps(result.to_json(), allow_nan=False)
    with pytest.raises(UserError, match="has no test split, and too few photos .*: 1 photo. Take all: --split all"):
        evaluate(str(trained_run.path), config=str(labelled))


def test_a_run_is_no_folder_of_photos(trained_run: RunDirectory) -> None:
    with pytest.raises(UserError, match=f"--config: {trained_run.path} is a run directory, .*/config.yaml"):
        evaluate(str(trained_run.path), config=str(trained_run.path))


def test_of_the_runs_own_folder_its_own_splits_count(
    trained_run: RunDirectory, colour_folders: Path, tmp_path: Path
) -> None:
    """By another spelling of its path; `val` of the run is a quarter of train, that of a new config a tenth."""
    spelled = str(colour_folders / "train" / "..")
    for split in ("val", "test"):
        own, named = (
            evaluate(str(trained_run.path), split, config=config, output=str(tmp_path / "out"))
            for config in (None, spelled)
        )
        assert own.averages == named.averages and own.photos == named.photos
        assert set(named.notes) - set(own.notes) == {f"{spelled} holds the run's own data: its splits are used"}


def test_the_folder_of_a_runs_own_table_is_known_by_the_table(trained_run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("config.yaml", "status.json"):
        shutil.copy(trained_run.path / name, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    for folder in ("photos", "others"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photos.csv").write_text("path,label\n", encoding="utf-8")
    table = tmp_path / "photos" / "photos.csv"
    values = {"data.source": "csv", "data.root": None, "data.csv": str(table)}
    text = with_values(run.experiment(), values).to_yaml()
    run.config.write_text(text, encoding="utf-8")
    assert other_config(run, str(table.parent), Progress()) is None
    for other in ("others", "photos/photos.csv", "run"):
        assert other_config(run, str(tmp_path / other), Progress()) == str(tmp_path / other)


def test_all_photos_of_a_run_are_mostly_ones_it_was_trained_on(trained_run: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(trained_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("tensorboard", "evaluation"))
    run = RunDirectory(tmp_path / "run")
    with without_pictures():
        result = evaluate(str(run.path), "all")
    with run.splits.open(encoding="utf-8") as file:
        splits = [row["split"] for row in csv.DictReader(file)]
    train, val = splits.count("train"), splits.count("val")
    assert result.photos == len(splits) == 51 and train + val == 36
    (note,) = [note for note in result.notes if "train photos of the run" in note]
    assert note.startswith(f"{train} of these 51 photos are train photos of the run, and {val} its validation photos")
    assert result.folder == run.path / "evaluation" / "all" and run.evaluation("all").is_current
    # The same photos by themselves are known by their content.
    other = evaluate(str(run.path), "all", overrides=["data.split_seed=1"])
    assert any(f"was trained on {train} of these 51 photos" in note for note in other.notes)


def test_labels_and_levels_are_right_in_another_order_of_classes(labelled: Path, tmp_path: Path) -> None:
    """Of a model whose classes aren't sorted, as those of official lists, and of which the data lacks two."""
    rows = [("red bird", "warm"), ("grün", "cold"), ("yellow", "warm"), ("blue, small", "cold")]
    names = [name for name, _ in rows]
    keras.utils.set_random_seed(0)
    taxonomy = Taxonomy(("species", "warmth"), tuple(rows))
    model = CLAN("tiny", 4, image_size=32, class_names=names, taxonomy=taxonomy.to_table())
    save_model(randomize_heads(model), tmp_path / "model.keras")
    result = evaluate(str(tmp_path / "model.keras"), "all", config=str(labelled), output=str(tmp_path / "out"))
    true, predicted = answers(result)
    folders = {path.parent.name for path in labelled.rglob("*.jpg")}
    assert {*true} == folders and [true.count(name) for name in folders] == [9, 9]
    given = predict(str(tmp_path / "model.keras"), [str(labelled)], top=1)
    right = [answer["predictions"][0]["label"] == Path(answer["path"]).parent.name for answer in given]
    assert result.combined["top1"] == pytest.approx(np.mean(right)) and len(right) == 18
    assert result.levels.accuracy[0].accuracy.value == pytest.approx(np.mean(right))
    warmth = dict(rows)
    wrong = [(t, p) for t, p in zip(true, predicted, strict=True) if t != p]
    within = result.levels.accuracy[1].shared
    assert wrong and within.right == sum(warmth[t] == warmth[p] for t, p in wrong)


def test_an_export_is_compared_on_photos_of_some_classes(trained_run: RunDirectory, labelled: Path) -> None:
    compared = Comparison(str(trained_run.path), config=str(labelled))
    labels = {Path(photo.name).parent.name: photo.label for photo in compared.photos.photos}
    assert labels == {"blue, small": 0, "grün": 1}
    assert compared.name == trained_run.experiment().name
    assert compared.split == "test"
    shutil.rmtree(labelled / "grün")
    for path in list((labelled / "blue, small").iterdir())[1:]:
        path.unlink()
    alone = Comparison(str(trained_run.path), config=str(labelled))
    assert (alone.split, len(alone.photos.photos)) == ("train", 1)
    assert alone.notes[0] == "there are no test photos: train photos are compared"
    assert alone.notes[1].startswith("no train photo of this data is of 2 of the model's 3 classes")


def test_whatever_split_of_other_data_is_asked_for_photos_that_the_run_knows_are_counted(
    trained_run: RunDirectory, colour_folders: Path, tmp_path: Path
) -> None:
    shutil.copytree(colour_folders / "train", tmp_path / "copies")
    with trained_run.splits.open(encoding="utf-8") as file:
        known = [row["split"] for row in csv.DictReader(file)].count("val")
    assert known > 0
    trained, chosen = {}, {}
    for split in ("train", "all"):
        result = evaluate(str(trained_run.path), split, config=str(tmp_path / "copies"))
        (note,) = [note for note in result.notes if "they have the same content" in note]
        trained[split], chosen[split] = (
            sum(map(int, re.findall(pattern, note))) for pattern in (r"was trained on (\d+)", r"best epoch by (\d+)")
        )
        assert trained[split] + chosen[split] == result.photos
        assert ("random" in " ".join(result.notes)) == (split != "all")
    for counts, expected in ((trained, 36 - known), (chosen, known)):
        assert counts["all"] == expected >= counts["train"] > 0


def test_distances_are_to_photos_that_the_model_was_trained_on(
    trained_run: RunDirectory, labelled: Path, colour_folders: Path
) -> None:
    for config, split, computed in ((None, "test", True), (str(labelled), "test", False)):
        result = evaluate(str(trained_run.path), split, config=config, unknown=str(colour_folders / "test"))
        assert ("nearest train photos" in [score.score for score in result.unknown.scores]) == computed
        notes = json.loads(json.dumps(result.to_json()))["notes"]
        assert any("no distances to train photos are computed" in note for note in notes) != computed
        assert any("unknown photos have the same content as photos of the model's classes" in note for note in notes)


def test_what_of_the_run_does_not_hold_for_a_folder_is_said(labelled: Path, tmp_path: Path) -> None:
    values = {"data.source": "cub", "data.root": str(tmp_path), "data.crop_to_box": True, "data.group": "path:^(.)"}
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.config.write_text(with_values(load_experiment("demo"), values).to_yaml(), encoding="utf-8")
    notes = Notes()
    other_config(run, str(labelled), notes, ["data.group=null"])
    assert [note.partition(" of the run ")[0] for note in notes.notes] == ["note: data.crop_to_box"]
    assert notes.notes[0].endswith("if it holds there, add --set data.crop_to_box=true")
    other_config(run, str(labelled), notes)
    assert "add --set 'data.group=\"path:^(.)\"'" in notes.notes[1]
