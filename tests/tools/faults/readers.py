"""What every reader makes of photo files, as JSON: python tests/tools/faults/readers.py RUN TFLITE SAVED_MODEL PHOTO...

Of each photo, by its file name: `size` and `mean` of the upright pixels; by reader (`predict RUN`, `predict EXPORT`,
`evaluate`) a hash of what the model sees, or the sentence that refuses the photo; and how far the answer of
`serve_bytes` is from that of the run, or its error.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from clan_tf.data import Photo
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches
from clan_tf.inference import ExportedPredictor, KerasPredictor, Predictor, locate, locate_keras
from clan_tf.inference.views import view_of_model
from clan_tf.photos import PhotoError, read_photo


def named(view: np.ndarray | str) -> str:
    """A short hash of pixels, or the sentence."""
    return view if isinstance(view, str) else hashlib.sha256(view.tobytes()).hexdigest()[:16]


def as_predicted(path: Path, predictor: Predictor) -> np.ndarray | str:
    """What `predict` gives a model of a photo."""
    try:
        return predictor.read(path)
    except PhotoError as error:
        return str(error)


def as_exported(path: Path, exported: ExportedPredictor, view: View) -> np.ndarray | str:
    """The part of what the file is given that it looks at: it cuts the centre itself."""
    given = as_predicted(path, exported)
    if isinstance(given, str):
        return given
    start = (len(given) - view.image_size) // 2
    return given[start : start + view.image_size, start : start + view.image_size]


def as_evaluated(path: Path, view: View) -> np.ndarray | str:
    """What training and `evaluate` see of a photo."""
    checked = check_photos([Photo(str(path), 0)])
    if checked.broken:
        return checked.broken[0].removeprefix(f"{path}: ")
    images, _, _ = next(iter(evaluation_batches(PhotoReader(checked, view), np.zeros(1, "int32"), 1)))
    return images.numpy()[0]


def described(path: Path, run: KerasPredictor, exported: ExportedPredictor, serve: Any, view: View) -> dict[str, Any]:
    """All about one photo."""
    seen = as_predicted(path, run)
    readers = {
        "predict RUN": seen,
        "predict EXPORT": as_exported(path, exported, view),
        "evaluate": as_evaluated(path, view),
    }
    about: dict[str, Any] = {"readers": {name: named(given) for name, given in readers.items()}}
    if not isinstance(seen, str):
        pixels = read_photo(path)
        about |= {"size": pixels.shape[1::-1], "mean": pixels.mean(axis=(0, 1)).round().tolist()}
    try:
        served = serve(photos=tf.constant([path.read_bytes()]))["probabilities"].numpy()
        expected = np.zeros_like(served) if isinstance(seen, str) else run.probabilities([seen])
        about["serve_bytes"] = float(np.abs(served - expected).max())
    except tf.errors.OpError as error:
        about["serve_bytes"] = error.message.splitlines()[0]
    return about


def main() -> None:
    """Prints the document."""
    run_path, tflite, saved_model, *photos = map(Path, sys.argv[1:])
    run = KerasPredictor.open(locate_keras(run_path), batch_size=1)
    view = view_of_model(run.model)
    model = tf.saved_model.load(str(saved_model))
    with ExportedPredictor.open(locate(tflite)) as exported:
        found = {path.name: described(path, run, exported, model.signatures["serve_bytes"], view) for path in photos}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
