"""The command: what it writes, what it refuses, and what `predict` and `evaluate` make of the files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.data import read_source
from clan_tf.errors import CheckFailed, UserError
from clan_tf.evaluation import evaluate
from clan_tf.export import ExportOptions, export
from clan_tf.export.requirements import require_free
from clan_tf.export.sampling import stratified, stratified_indices
from clan_tf.inference import predict
from clan_tf.models import load_model, save_model
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from helpers.exports import answering_model, unsure_file


def test_every_format_passes_the_gate_and_is_taken_by_predict_and_evaluate(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    photo = read_source(run.experiment().data).photos("test")[0].name
    by_keras = predict(str(run.path), [photo])[0]["predictions"]
    evaluated = evaluate(str(run.path))
    formats = ("saved_model --per-branch", "tflite --quantize float16 --io uint8", "onnx")
    for words in map(str.split, formats):
        result = runner.invoke(app, ["export", str(run.path), "--json", "--format", *words])
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        path, gate = Path(answer["path"]), answer["gate"]
        assert gate["passed"] and gate["photos"] == 15 and gate["decided_agreement"] == 1
        assert [speed["threads"] for speed in gate["speeds"]] == [1]
        assert json.loads((path.parent / "export.json").read_text(encoding="utf-8"))["gate"] == gate
        (by_file,) = predict(str(path), [photo])
        if "tflite" in words:  # once is enough
            assert predict(str(path.parent), [photo]) == [by_file]
        assert [p["label"] for p in by_file["predictions"]] == [p["label"] for p in by_keras]
        assert by_file["predictions"][0]["probability"] == pytest.approx(by_keras[0]["probability"], abs=5e-3)
        if "--per-branch" in words:  # TensorFlow takes seconds to open one, so once is enough
            own, other = (evaluate(str(each), branches=["mid_1", "top"]) for each in (run.path, path.parent))
            assert other.combined == own.combined and other.photos == 15
            assert other.branches == own.branches == evaluated.branches
            likelihoods = [each.calibration["negative_log_likelihood"].value for each in (own, other)]
            assert likelihoods[1] == pytest.approx(likelihoods[0], abs=1e-4)
            continue
        again = evaluate(str(path.parent if "float16" in words else path))
        assert again.combined == evaluated.combined and again.photos == 15
        assert again.branches == {}
        assert again.temperature == evaluated.temperature == 1.6
        assert again.calibration_error == pytest.approx(evaluated.calibration_error, abs=5e-3)


def test_the_folder_of_an_export_stands_for_its_file(run: RunDirectory, tmp_path: Path) -> None:
    photo = read_source(run.experiment().data).photos("test")[0].name
    exported = export(str(run.path), ExportOptions("keras"), str(tmp_path / "keras"), samples=2)
    assert predict(str(tmp_path / "keras"), [photo]) == predict(str(exported.path), [photo])
    for text in ("", "[]", "[" * 100_000, '{"file": 5}', '{"file": ".."}', '{"file": "../run.tflite"}', '{"file": ""}'):
        (tmp_path / "keras" / "export.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"export.json: must name, as `file`"):
            predict(str(tmp_path / "keras"), [photo])


def test_what_exists_is_not_replaced_unless_asked(run: RunDirectory, tmp_path: Path) -> None:
    options = ExportOptions("tflite")
    (tmp_path / "mine").mkdir()
    for force, name, message in ((False, "mine", "--force"), (True, "mine", "isn't an export")):
        with pytest.raises(UserError, match=message):
            export(str(run.path), options, str(tmp_path / name), force=force)
    assert export(str(run.path), options, str(tmp_path / "new"), samples=2).path.suffix == ".tflite"
    with pytest.raises(UserError, match="exists"):
        export(str(run.path), options, str(tmp_path / "new"))
    assert export(str(run.path), options, str(tmp_path / "new"), samples=2, force=True).report.photos == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "new"]
    (tmp_path / "new" / "notes" / "mine.txt").parent.mkdir()
    (tmp_path / "new" / "notes" / "mine.txt").touch()
    with pytest.raises(UserError, match="--force: .*new also holds 'notes/mine.txt', which the export didn't write"):
        export(str(run.path), options, str(tmp_path / "new"), force=True)
    assert (tmp_path / "new" / "notes" / "mine.txt").exists()
    (tmp_path / "new" / "export.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="export.json: is damaged"):
        export(str(run.path), options, str(tmp_path / "new"), force=True)


def test_an_export_of_an_earlier_version_gives_way_with_all_that_is_below_its_file(tmp_path: Path) -> None:
    (tmp_path / "birds" / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (tmp_path / "birds" / name).touch()
    (tmp_path / "export.json").write_text('{"file": "birds"}', encoding="utf-8")
    require_free(tmp_path, force=True)
    (tmp_path / "birds.txt").touch()
    with pytest.raises(UserError, match="also holds 'birds.txt', which"):
        require_free(tmp_path, force=True)


def test_a_killed_export_leaves_nothing_under_the_final_name(run: RunDirectory, tmp_path: Path) -> None:
    code = (
        "import os, sys; from importlib import import_module; from clan_tf.export import ExportOptions, export\n"
        "import_module('clan_tf.export.comparison').check_file = lambda *_: os._exit(9)\n"
        "export(sys.argv[1], ExportOptions('tflite'), sys.argv[2])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run.path), str(tmp_path / "out")], capture_output=True)
    assert done.returncode == 9, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.match(".partial-*-out")
    assert export(str(run.path), ExportOptions("tflite"), str(tmp_path / "out"), samples=2).path.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("place", ["saved_model.save", "io.TFRecordWriter"])
def test_a_disk_that_tensorflow_fills_is_one_error_and_leaves_nothing(
    place: str, run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **others: object) -> None:
        words = "/exports/part-0.tempstate14; No space left on device [Op:SaveV2]"
        raise tf.errors.ResourceExhaustedError(None, None, words)

    monkeypatch.setattr(f"tensorflow.{place}", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        export(str(run.path), ExportOptions("saved_model"), str(tmp_path / "new" / "model"), samples=2)
    assert Path(str(caught.value.filename)).is_relative_to(tmp_path / "new" / "model")
    assert ".partial" not in str(caught.value.filename) and list(tmp_path.iterdir()) == []


def test_a_model_with_nan_weights_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    model = answering_model()
    model.get_layer("logits_top").bias.assign(np.full(5, np.nan))
    save_model(model, tmp_path / "nan.keras")
    with pytest.raises(CheckFailed, match="NaN or infinity, such as logits_top/bias"):
        export(str(tmp_path / "nan.keras"), ExportOptions("tflite"), config=str(run.path / "config.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["nan.keras"]


def test_a_model_that_answers_nan_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    """Its weights are finite, but too large for float32."""
    model = load_model(run.best)
    kernel = model.get_layer("logits_top").kernel
    kernel.assign(np.where(np.arange(kernel.shape[1]) % 2, 3e38, -3e38) * np.ones(kernel.shape))
    save_model(model, tmp_path / "large.keras")
    with pytest.raises(CheckFailed, match="the model outputs NaN"):
        export(str(tmp_path / "large.keras"), ExportOptions("tflite"), config=str(run.path / "config.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["large.keras"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflit"}, "Did you mean tflite"),
        ({"format": "saved_model", "quantize": "int8"}, "--quantize: is for --format tflite"),
        ({"format": "tflite", "quantize": "int4"}, "--quantize: must be one of"),
        ({"format": "tflite", "io": "int8"}, "--io: must be one of"),
        ({"format": "keras", "branches": ("top",)}, "--branches: is for"),
        ({"format": "tflite", "explain": True}, "--explain: is for --format saved_model"),
        ({"format": "tflite", "keep_float": ("clca",)}, "--keep-float: is for --quantize float16, dynamic, int8"),
        ({"format": "tflite", "quantize": "int8", "calibration_photos": 0}, "--calibration-photos: must be"),
        ({"format": "onnx", "calibration_photos": 9}, "--calibration-photos: is for --quantize dynamic, int8, int16x8"),
        ({"format": "tflite", "quantize": "int8", "max_drop": -1.0}, "--max-drop: must be"),
        ({"format": "tflite", "quantize": "float16", "max_drop": 1.0}, "--max-drop: is for --quantize dynamic"),
        ({"format": "tflite", "quantize": "int8", "min_agreement": 101.0}, "--min-agreement: must be"),
    ],
)
def test_bad_combinations_are_one_clear_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ExportOptions(**options)


def test_a_sample_holds_the_classes_in_turn(run: RunDirectory) -> None:
    photos = read_source(run.experiment().data).photos("train")
    chosen = stratified(photos, 7)
    counts = np.bincount([photo.label for photo in chosen])
    assert len(chosen) == 7 and counts.max() - counts.min() <= 1
    assert len(stratified(photos, 10_000)) == len(photos)
    names = {photo.name for photo in stratified(photos, 11)}
    assert {photo.name for photo in chosen} < names


def test_a_sample_of_fewer_photos_than_classes_is_not_of_the_first_classes() -> None:
    labels = np.arange(400) // 4
    indices = stratified_indices(labels.tolist(), 50)
    classes = labels[indices]
    assert len(set(classes)) == 50 and indices == sorted(indices)
    assert 15 < (classes < 50).sum() < 35 and 15 < (classes % 2).sum() < 35


def test_another_file_gets_another_default_folder() -> None:
    plain = {"saved_model": {}, "onnx": {}, "keras": {}, "tflite-float32": {}, "tflite-int8": {"quantize": "int8"}}
    for name, own in plain.items():
        assert ExportOptions(name.split("-")[0], **own).folder_name == name
    # What is the default anyway makes the same file, and the limits of the gate none of their own.
    assert ExportOptions("tflite", io="float32").folder_name == "tflite-float32"
    assert ExportOptions("onnx", io="uint8").folder_name == "onnx"
    assert ExportOptions("tflite", "int8", max_drop=2.0).folder_name == "tflite-int8"
    changed = [
        ExportOptions("tflite"),
        ExportOptions("tflite", io="uint8"),
        ExportOptions("tflite", any_batch=True),
        ExportOptions("tflite", branches=("top",)),
        ExportOptions("tflite", branches=("top", "mid_1")),
        ExportOptions("tflite", "int8"),
        ExportOptions("tflite", "int8", calibration_photos=20),
        ExportOptions("tflite", "int8", keep_float=("top",)),
        ExportOptions("saved_model"),
        ExportOptions("saved_model", per_branch=True),
        ExportOptions("saved_model", explain=True),
        ExportOptions("saved_model", io="float32"),
    ]
    names = [options.folder_name for options in changed]
    assert len(set(names)) == len(names)
    assert (
        ExportOptions("tflite", io="uint8", branches=("top", "mid_1")).folder_name == "tflite-float32-uint8-mid_1-top"
    )
    assert ExportOptions("tflite", branches=("../../x",)).folder_name == "tflite-float32-.._.._x"
    long = [ExportOptions("tflite", branches=(*map(str, range(100)), last)).folder_name for last in "ab"]
    assert long[0] != long[1] and max(map(len, long)) <= 100


def test_a_file_of_other_branches_says_that_it_withholds_nothing(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = unsure_file(run, tmp_path)
    notes: list[str] = []
    monkeypatch.setattr(Progress, "note", lambda _, text: notes.append(text))
    config = str(run.path / "config.yaml")
    for branches, withholds in ((("top",), False), (("refined_top", "mid_1", "top"), True)):
        notes.clear()
        options = ExportOptions("tflite", branches=branches)
        folder = tmp_path / branches[0]
        made = export(unsure, options, str(folder), config=config)
        stored = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        lost = [note for note in notes if "every answer is given" in note]
        if withholds:
            assert lost == [] and "notes" not in stored and made.contract.rejection
            figures = stored["gate"]["withholding"]
            assert figures["keras_coverage"] == pytest.approx(figures["coverage"], abs=0.1)
        else:
            (note,) = lost
            assert "at least 0.4" in note and "mid_1, top, refined_top together, not for top" in note
            assert stored["notes"] == [note.removeprefix("note: tflite-float32: ")]
            assert made.contract.rejection is None and "withholding" not in stored["gate"]
    notes.clear()
    evaluate(unsure, branches=["top"], config=config)
    assert [note for note in notes if note.startswith("note: every answer is given")]
