"""Starting from a model that was trained on photos of the new test or validation split is said, wherever it counts."""

import shutil
from pathlib import Path

import pytest

from clan_tf.config import Experiment, load_experiment, with_values
from clan_tf.errors import UserError
from clan_tf.evaluation import evaluate
from clan_tf.folds import cross_validate, plan_folds
from clan_tf.report import write_report
from clan_tf.run import RunDirectory, read_run_split
from clan_tf.run.known import read_known
from clan_tf.search import SearchConfig, search
from clan_tf.training import train
from clan_tf.training.known_photos import known_by_start
from clan_tf.training.plan import plan_training
from helpers.notes import Notes
from helpers.pictures import without_pictures

SMALL = ["data={source: folders, image_size: 32, resize_size: null, validation_fraction: 0.25}"]


def digests(run: RunDirectory, split: str) -> set[str]:
    """From the table that the run wrote."""
    written = read_run_split(run)
    assert written is not None
    return {row.digest for row in written.used if row.split == split}


def mentions(notes: list[str], *texts: str) -> bool:
    return any(all(text in note for text in texts) for note in notes)


@pytest.fixture(scope="module")
def pooled(colour_folders: Path, trained_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """All photos of the trained run, train and test, in class folders alone, and others beside them: cut anew."""
    from helpers import TINY_DEMO

    root = tmp_path_factory.mktemp("pooled")
    for split in ("train", "test"):
        for path in (colour_folders / split).rglob("*.jpg"):
            target = root / path.parent.name / f"{split}_{path.name}"
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    values = {"data.root": str(root), "model.init": str(trained_run.path), "training.epochs": 1, "data.split_seed": 1}
    return with_values(load_experiment(TINY_DEMO, [*SMALL, "training.batch_size=9"]), values)


@pytest.fixture(scope="module")
def noted(pooled: Experiment, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, list[str]]:
    """A run from the trained one, on all its photos cut otherwise, and what was noted."""
    path, progress = tmp_path_factory.mktemp("runs") / "second", Notes()
    with without_pictures():
        train(pooled, str(path), progress=progress)
    return RunDirectory(path), progress.notes


def test_test_and_validation_photos_that_the_other_model_knows_are_counted_before_training(
    noted: tuple[RunDirectory, list[str]], trained_run: RunDirectory
) -> None:
    run, notes = noted
    trained, chosen = digests(trained_run, "train"), digests(trained_run, "val")
    test, val = digests(run, "test"), digests(run, "val")
    assert test & trained and val & trained
    assert mentions(notes, f"note: {len(test & trained)} of {len(test)} test photos", "that model.init names")
    assert mentions(notes, f"note: {len(val & trained)} of {len(val)} validation photos", "To keep its train photos")
    place = next(index for index, note in enumerate(notes) if "test photos" in note)
    assert place < next(index for index, note in enumerate(notes) if note.startswith("run directory"))
    assert read_known(run).train == trained and read_known(run).val == chosen


def test_the_dry_run_shows_them(pooled: Experiment, noted: tuple[RunDirectory, list[str]]) -> None:
    plan = plan_training(pooled, None)
    said = [note.removeprefix("note: ") for note in noted[1] if "that model.init names" in note]
    assert plan.rows["known photos"] == "; ".join(said)
    assert plan.files[-1].endswith("init_photos.csv")


def test_an_evaluation_and_a_report_note_them_later_and_without_the_other_run(
    noted: tuple[RunDirectory, list[str]], trained_run: RunDirectory, colour_folders: Path
) -> None:
    run, _ = noted
    trained = digests(trained_run, "train")
    for split in ("test", "val"):
        photos = digests(run, split)
        notes = evaluate(str(run.path), split=split).to_json()["notes"]
        name = {"test": "test", "val": "validation"}[split]
        assert mentions(notes, f"{len(photos & trained)} of {len(photos)} {name} photos", "the run started from")
    assert not mentions([*evaluate(str(run.path), split="train").notes], "started from")
    others = trained - digests(run, "train")
    whole = list(evaluate(str(run.path), split="all").notes)
    assert mentions(whole, f"{len(others)} of 51 photos are train photos of the model that the run started from")
    overrides = [f"data.root={colour_folders}", "data.source=folders", "data.split_seed=5"]
    other = list(evaluate(str(run.path), split="all", overrides=overrides).notes)
    assert mentions(other, f"{len(others)} of 51 photos are train photos of the model that the run started from")
    page = write_report(str(run.path)).read_text(encoding="utf-8")
    test = digests(run, "test")
    assert f"{len(test & trained)} of {len(test)} test photos" in page and "validation photos are train photos" in page


def test_what_the_first_of_three_models_knows_is_known_to_the_third(
    noted: tuple[RunDirectory, list[str]], trained_run: RunDirectory, pooled: Experiment
) -> None:
    run, _ = noted
    known = known_by_start(with_values(pooled, {"model.init": str(run.best)}))
    assert known is not None and known.unknown is None
    assert known.train == digests(run, "train") | digests(trained_run, "train")
    assert digests(run, "val") - known.train == known.val & digests(run, "val")


def test_weights_from_a_run_are_such_a_model_too(pooled: Experiment, trained_run: RunDirectory, tmp_path: Path) -> None:
    experiment = with_values(pooled, {"model.init": None, "model.weights": str(trained_run.best)})
    known = known_by_start(experiment)
    assert known is not None and known.train == digests(trained_run, "train")
    assert "train photos of the model that model.weights names" in plan_training(experiment, None).rows["known photos"]
    with pytest.raises(UserError, match=r"^--folds: .*--set model\.weights=null"):
        plan_folds(experiment, 3, None)
    elsewhere = tmp_path / "weights.keras"
    shutil.copy(trained_run.best, elsewhere)
    assert known_by_start(with_values(experiment, {"model.weights": str(elsewhere)})) is None


def test_the_keys_that_keep_the_splits_are_named(
    noted: tuple[RunDirectory, list[str]], pooled: Experiment, tmp_path: Path
) -> None:
    """From a run of the same photos: with the same keys every photo stays in its split, and nothing is noted."""
    same = with_values(pooled, {"model.init": str(noted[0].path)})
    assert "To keep its train photos" in plan_training(same, None).rows["known photos"]  # those of the first run
    clean = with_values(same, {"model.init": None})
    first = RunDirectory(tmp_path / "first")
    train(clean, str(first.path))
    follower = with_values(clean, {"model.init": str(first.path)})
    plan = plan_training(follower, None)
    assert "starts from" in plan.rows and "known photos" not in plan.rows
    other = plan_training(with_values(follower, {"data.split_seed": 7, "data.test_fraction": 0.5}), None)
    assert "To keep its splits: --set data.split_seed=1 --set data.test_fraction=0.2" in other.rows["known photos"]
    with pytest.raises(UserError, match=r"^--folds: .*splits of that model: --set data\.split_seed=1\.$"):
        plan_folds(with_values(follower, {"data.split_seed": 7}), 3, None)


@pytest.mark.parametrize("case", ["no run", "older run", "no splits"])
def test_a_model_of_which_it_is_not_known_is_noted(
    case: str, noted: tuple[RunDirectory, list[str]], pooled: Experiment, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(noted[0].path, run.path)
    init, reason = run.path, f"{run.path} started from"
    if case == "no run":
        init = tmp_path / "a model.keras"
        shutil.copy(run.best, init)
        reason = "a model.keras is in no run"
    elif case == "older run":
        run.init_photos.unlink()
    else:
        run.splits.unlink()
        reason = "splits.csv"
    experiment = with_values(pooled, {"model.init": str(init)})
    assert reason in plan_training(experiment, None).rows["known photos"]
    if case == "no run":
        train(experiment, str(tmp_path / "next"))
        known = known_by_start(with_values(pooled, {"model.init": str(tmp_path / "next")}))
        assert known is not None and known.unknown is not None and reason in known.unknown


def test_cross_validation_from_a_model_that_knows_the_photos_is_refused(
    pooled: Experiment, trained_run: RunDirectory, tmp_path: Path
) -> None:
    known = len(digests(trained_run, "train"))
    for start in (cross_validate, plan_folds):
        with pytest.raises(UserError, match=rf"^--folds: .* was trained on {known} of 51 photos.*model\.init=null"):
            start(pooled, 3, str(tmp_path / "folds"))
    assert not (tmp_path / "folds").exists()


def test_a_search_notes_them_once(pooled: Experiment, tmp_path: Path) -> None:
    space = {"parameters": {"training.learning_rate": {"kind": "choice", "values": [0.01, 0.02]}}, "algorithm": "grid"}
    progress = Notes()
    search(pooled, SearchConfig.model_validate(space), tmp_path / "search", progress=progress)
    assert (
        sum("validation photos are train photos of the model that model.init names" in n for n in progress.notes) == 1
    )
