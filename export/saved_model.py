"""SavedModel."""

from pathlib import Path

import keras


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """Writes the model as a SavedModel whose signature `serve` takes batches of any size.

    Args:
        model: any built Keras model.
        folder: where to write; it must not exist.
    """
    model.export(str(folder), format="tf_saved_model", verbose=False)
