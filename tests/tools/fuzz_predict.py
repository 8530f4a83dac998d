"""Damaged models and photos through `predict`: each must get a message, never a traceback, a hang or a silent crash.

python tests/tools/fuzz_predict.py 2000     the suite runs a few of them
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from clan_tf.export.metadata import with_metadata
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.pruning import inference_model
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.runtime import Contract
from helpers.fuzzing import fuzz
from helpers.models import Row, build, clan


def main() -> None:
    """Trains nothing: the models have random weights."""
    folder = Path(tempfile.mkdtemp(prefix="clan-tf-fuzz-"))
    model, _ = build(Row("model", clan(), takes_photos=True))
    contract = Contract(tuple(model.class_names), 32, 32, "stretch", 32, model.branches)
    pruned = inference_model(model, model.branches)
    models = {kind: folder / f"good.{kind}" for kind in ("tflite", "onnx", "keras")}
    models["tflite"].write_bytes(with_metadata(classifier_to_tflite(pruned, 32), "model", contract, ""))
    models["onnx"].write_bytes(classifier_to_onnx(pruned, contract))
    model.save(models["keras"])
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found = fuzz(folder, models, count, seed=seed)
    for outcome, number in sorted(found.items()):
        print(f"{number:6} {outcome}")
    if set(outcome.split(" ", 1)[1] for outcome in found) - {"answered", "refused"}:
        sys.exit(f"Findings: {folder}")


if __name__ == "__main__":
    main()
