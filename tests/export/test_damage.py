"""Damaged models and photos end with a message."""

from pathlib import Path

from clan_tf.models import BranchClassifier
from clan_tf.run import RunDirectory
from helpers.exports import exported_file
from helpers.fuzzing import fuzz


def test_damaged_files_of_every_kind_end_with_a_message(
    run: RunDirectory, models: dict[str, BranchClassifier], tmp_path: Path
) -> None:
    model = models["dot_product"]
    good = {kind: exported_file(tmp_path / f"good.{kind}", model) for kind in ("tflite", "onnx")} | {"keras": run.best}
    found = fuzz(tmp_path, good, 12)
    assert sum(found.values()) == 12
    assert {outcome.split(" ", 1)[1] for outcome in found} <= {"answered", "refused"}
