"""Exports and single files are measured side by side."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.errors import UserError
from clan_tf.export import ExportOptions, export
from clan_tf.export.benchmark import benchmark_exports
from clan_tf.models import BranchClassifier
from clan_tf.run import RunDirectory
from helpers.exports import tflite_file


def test_benchmark_compares_exports_and_single_files(
    run: RunDirectory, models: dict[str, BranchClassifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = (ExportOptions("tflite"), ExportOptions("tflite", "dynamic"))
    monkeypatch.setattr("clan_tf.export.benchmark.ALL_EXPORTS", chosen)
    few = ["--samples", "4", "--seconds", "0.1"]
    answer = json.loads(CliRunner().invoke(app, ["benchmark", str(run.path), *few, "--json"]).stdout)
    assert list(answer) == ["tflite-float32", "tflite-dynamic"]
    assert all([speed["threads"] for speed in report["speeds"]] == [1, 2] for report in answer.values())
    assert answer["tflite-float32"]["photos"] == 4 and answer["tflite-float32"]["agreement"] == 1
    kept = export(str(run.path), ExportOptions("tflite"), str(tmp_path / "kept"), samples=1)
    file = Path(shutil.copy(kept.path, tmp_path))
    table = CliRunner().invoke(app, ["benchmark", *few, str(file), "--run", str(run.path)]).output
    assert file.name in table and "100.00 %" in table and "memory" in table
    (measured,) = benchmark_exports(str(kept.folder), samples=1, seconds=0.1, run=str(run.path)).values()
    assert measured.report.bytes == kept.path.stat().st_size
    with pytest.raises(UserError, match="isn't in a run directory.*--run RUN"):
        benchmark_exports(str(file), samples=1)
    others = tflite_file(tmp_path / "others.tflite", models["gaussian"])
    with pytest.raises(UserError, match="others.tflite: has other classes or branches than .*--run"):
        benchmark_exports(str(others), samples=1, run=str(run.path))
