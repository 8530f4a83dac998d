"""`clan-tf predict --level`: which level a photo is answered on, from models and exported files."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.errors import UserError
from clan_tf.export.metadata import with_metadata
from clan_tf.export.pruning import inference_model
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.inference import predict
from clan_tf.inference.levels import LevelChoice
from clan_tf.models import BCNN, CLAN, BranchClassifier, Plain, load_model, save_model
from clan_tf.models.calibration import calibrated
from clan_tf.rejection import NEVER, Rejection
from clan_tf.runtime import read_contract
from clan_tf.runtime.contract import contract_taxonomy
from clan_tf.taxonomy import Taxonomy
from helpers.exports import NAMES, PHOTOS, RESIZE, answering_model, contract_of

TABLE = [
    ["class", "genus", "family"],
    ["red bird", "Rubra", "A"],
    ["grün", "Viridis", "A"],
    ["blue, small", "Caerula", "B"],
    ["d", "Caerula", "B"],
    ["e", "Caerula", "B"],
]
TAXONOMY = Taxonomy.of(TABLE, NAMES)


@pytest.fixture(scope="module")
def model() -> BranchClassifier:
    return answering_model(taxonomy=TAXONOMY)


@pytest.fixture(scope="module")
def files(model: BranchClassifier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model as a `.keras` file and as an exported one."""
    folder = tmp_path_factory.mktemp("models")
    save_model(model, folder / "birds.keras")
    contract = replace(contract_of(model), taxonomy=contract_taxonomy(model.taxonomy))
    content = classifier_to_tflite(inference_model(model, model.branches), RESIZE, "none", "float32")
    (folder / "birds.tflite").write_bytes(with_metadata(content, "birds", contract, "a test"))
    return {"keras": folder / "birds.keras", "tflite": folder / "birds.tflite"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for index, photo in enumerate(PHOTOS[:8]):
        Image.fromarray(photo).save(folder / f"{index}.png")
    (folder / "text.jpg").write_text("no photo", encoding="utf-8")
    return folder


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_auto_takes_the_finest_level_that_is_sure_enough() -> None:
    probabilities = np.array([0.05, 0.05, 0.1, 0.2, 0.6], "float32")
    for sure_from, level, label in ((0.6, "class", "e"), (0.61, "genus", "Caerula"), (0.95, "family", "B")):
        choice = LevelChoice(TAXONOMY, "auto", Path("m"), Rejection(None, (sure_from,)))
        name, labels, sums, is_answer = choice.answer(probabilities)
        assert (name, labels[int(sums.argmax())], is_answer) == (level, label, sure_from < 0.9)
    split = np.array([0.3, 0.25, 0.25, 0.1, 0.1])
    name, labels, sums, is_answer = LevelChoice(TAXONOMY, "auto", Path("m")).answer(split)
    assert name == "family" and not is_answer
    assert dict(zip(labels, sums, strict=True)) == pytest.approx({"A": 0.55, "B": 0.45})
    assert LevelChoice(TAXONOMY, "auto", Path("m")).answer(np.full(5, np.nan))[0] == "family"


def test_groups_need_the_highest_threshold_of_a_class_and_a_named_level_may_be_withheld() -> None:
    by_class = Rejection(0.1, (0.2, 0.3, 0.7, NEVER, 0.4))
    probabilities = np.array([0.05, 0.05, 0.1, 0.2, 0.6], "float32")
    assert LevelChoice(TAXONOMY, "auto", Path("m"), by_class).answer(probabilities)[0] == "class"
    shifted = np.array([0.05, 0.05, 0.1, 0.45, 0.35], "float32")  # the likeliest class is never answered
    name, _, sums, is_answer = LevelChoice(TAXONOMY, "auto", Path("m"), by_class).answer(shifted)
    assert name == "genus" and is_answer and sums.max() == pytest.approx(0.9)
    assert not LevelChoice(TAXONOMY, "genus", Path("m"), Rejection(None, (0.95,))).answer(shifted)[3]
    assert LevelChoice(TAXONOMY, "genus", Path("m")).answer(shifted)[3]


@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_a_models_answers_are_sums_of_its_classes_answers(kind: str, files: dict[str, Path], photos: Path) -> None:
    path = str(files[kind])
    own = predict(path, photos, top=5)
    sure_from = np.median([result["predictions"][0]["probability"] for result in own if "error" not in result])
    by_genus = predict(path, photos, top=5, level="genus")
    auto = predict(path, photos, level="auto", unsure_below=float(sure_from))
    groups = {row[0]: row for row in TABLE[1:]}
    seen = set()
    for plain, genus, chosen in zip(own, by_genus, auto, strict=True):
        if "error" in plain:
            assert genus == chosen == plain and "level" not in plain
            continue
        assert "level" not in plain and genus["level"] == "genus"
        sums: list[dict[str, float]] = [{}, {}, {}]
        for one in plain["predictions"]:
            for level, name in enumerate(groups[one["label"]]):
                sums[level][name] = sums[level].get(name, 0.0) + one["probability"]
        answers = {one["label"]: one["probability"] for one in genus["predictions"]}
        assert answers == pytest.approx(sums[1], abs=1e-6)
        assert [*answers.values()] == sorted(answers.values(), reverse=True)
        sure = [level for level in range(3) if max(sums[level].values()) >= sure_from]
        assert chosen["level"] == TABLE[0][min(sure, default=2)]
        is_sure = max(sums[2].values()) >= sure_from
        assert chosen["label"] == (chosen["predictions"][0]["label"] if is_sure else None)
        assert {*chosen} == {"path", "label", "predictions", "level", *([] if is_sure else ["reason"])}
        seen.add(chosen["level"])
    assert len(seen) > 1


def test_a_table_folders_and_the_terminal_show_the_level(files: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    table, folder = tmp_path / "out.csv", tmp_path / "sorted"
    arguments = (files["tflite"], photos, "--level", "auto", "--unsure-below", "0.6")
    expected = {
        result["path"]: (result["level"], result["predictions"][0])
        for result in json.loads(run(*arguments, "--json").stdout)
        if "error" not in result
    }
    shown = run(*arguments, "--top", "1")
    assert shown.exit_code == 1 and "level" in shown.stdout and "family" in shown.stdout
    done = run(*arguments, "--csv", table, "--sort-into", folder)
    assert done.exit_code == 1, done.output
    for written in (table, folder / "predictions.csv"):
        with written.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        labels = {row.get("path") or row["photo"]: row["label"] or row.get("withheld") for row in rows}
        levels = {row.get("path") or row["photo"]: row["level"] for row in rows}
        for path, (level, best) in expected.items():
            assert (levels[path], labels[path]) == (level, best["label"])
        assert [row["level"] for row in rows if row["error"]] == [""]
    for path, (_, best) in expected.items():
        inner = best["label"] if best["probability"] >= 0.6 else "_unsure"
        assert (folder / inner / Path(path).name).is_file()


def test_auto_is_sure_from_nine_tenths_unless_told_otherwise(
    files: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sorted"
    results = json.loads(run(files["tflite"], photos, "--level", "auto", "--sort-into", folder, "--json").stdout)
    placed = [result for result in results if "file" in result]
    assert len(placed) == 8
    for result in placed:
        probability = result["predictions"][0]["probability"]
        assert probability >= 0.9 or result["level"] == "family"
        assert (Path(result["file"]).parent.name == "_unsure") == (probability < 0.9)
    genera = json.loads(run(files["tflite"], photos, "--unsure-below", "0.6", "--level", "genus", "--json").stdout)
    for result in genera:
        if "error" not in result:
            best = result["predictions"][0]
            assert result["label"] == (best["label"] if best["probability"] >= 0.6 else None)


def test_a_level_that_is_not_there_is_a_mistake(files: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    for file in files.values():
        with pytest.raises(
            UserError, match=r"--level: .*birds.* has no level 'genera'.*levels: class, genus, family, or"
        ):
            predict(str(file), photos, level="genera")
    with pytest.raises(UserError, match="unsure_below: must be a probability from 0 to 1; received 90"):
        predict(str(files["tflite"]), photos, level="auto", unsure_below=90)
    with pytest.raises(UserError, match="top: must be at least 1; received 0"):
        predict(str(files["tflite"]), photos, top=0)
    with pytest.raises(UserError, match="batch_size: must be at least 1; received -1"):
        predict(str(files["tflite"]), photos, batch_size=-1)
    save_model(Plain("tiny", 2, 32), tmp_path / "plain.keras")
    with pytest.raises(
        UserError, match="knows no levels above its classes. Train with a taxonomy: --set data.taxonomy"
    ):
        predict(str(tmp_path / "plain.keras"), photos, level="auto")


def test_files_keep_the_taxonomy_and_leave_out_none(model: BranchClassifier, files: dict[str, Path]) -> None:
    assert load_model(files["keras"]).taxonomy == model.taxonomy == TAXONOMY
    assert read_contract(files["tflite"]).taxonomy == tuple(map(tuple, TABLE))
    assert calibrated(model, {"combined": 2.0}).taxonomy == TAXONOMY
    own = BCNN("tiny", 5, 32, class_names=NAMES, taxonomy=TABLE)
    assert type(own).from_config(own.get_config()).taxonomy == TAXONOMY
    assert "taxonomy" not in answering_model().get_config() and "taxonomy" not in contract_of(model).to_json()


@pytest.mark.parametrize(
    "hostile",
    [
        [["class", "genus"]],
        [["class", "genus"], *([f"c{index}", "g"] for index in range(5))],
        [["class", "genus"], *([name, 3] for name in NAMES)],
        [["class", "genus"], *([name, ["g"]] for name in NAMES)],
        [["class", "genus"], *([name, {"class_name": "Lambda", "config": {}}] for name in NAMES)],
        [["class", "genus"], *([name, "g" * 2000] for name in NAMES)],
        {"class": "genus"},
        "names",
    ],
)
def test_a_strangers_file_with_another_taxonomy_is_refused(
    hostile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CLAN("tiny", 5, 32, class_names=NAMES)
    config = model.get_config()
    monkeypatch.setattr(CLAN, "get_config", lambda self: {**config, "taxonomy": hostile})
    keras.saving.save_model(model, tmp_path / "model.keras")
    with pytest.raises(UserError, match="taxonomy") as caught:
        load_model(tmp_path / "model.keras")
    assert len(str(caught.value)) < 800
