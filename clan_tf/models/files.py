"""`.keras` files: validated on reading, written atomically."""

import warnings
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

from clan_tf.errors import CheckFailed, UserError
from clan_tf.files import replacing
from clan_tf.files.reading import is_of_damage
from clan_tf.models.archive import ForeignModel, require_own_model
from clan_tf.models.classifier import BranchClassifier


def load_model(path: Path) -> BranchClassifier:
    """Loads a model that `save_model` wrote.

    Only the file is read, and only clan-tf's classes are instantiated, whatever its config says.

    Raises:
        UserError: if the file is damaged, isn't a regular file, or holds another model.
        CheckFailed: if weights are NaN or infinite.
    """
    try:
        require_own_model(path)
        # Keras only warns about layers that keep their random weights.
        with warnings.catch_warnings(action="error", category=UserWarning):
            model = keras.saving.load_model(path, compile=False)
    except ForeignModel as error:
        raise UserError(f"{path}: {error}.") from error
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is damaged or truncated ({error}). Copy it again, or train again.") from error
    except Exception as error:  # Keras raises many types of errors for a damaged or foreign file.
        raise UserError(f"{path}: can't be loaded as a Keras model: {_reason(error)}") from error
    require_finite(path, model)
    return model


def require_finite(path: Path, model: keras.Model) -> None:
    """Raises a `CheckFailed` if weights are NaN or infinite."""
    damaged = [weight.path for weight in model.weights if not np.isfinite(keras.ops.convert_to_numpy(weight)).all()]
    if damaged:
        raise CheckFailed(
            f"{path}: {len(damaged)} of its weights hold NaN or infinity, such as {damaged[0]}; the model is damaged. "
            "Take another checkpoint, or train again."
        )


def _reason(error: Exception) -> str:
    """Shortens a library's message to one line."""
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    if text.startswith("A total of ") or isinstance(error, UserWarning):  # Keras lists them over many lines
        return "its weights aren't those of the model that its config.json describes"
    return text.splitlines()[0][:500]


def damage_in_model(path: Path) -> str | None:
    """Describes what is wrong with a `.keras` file by the checksums of its parts; `None` if nothing is.

    Raises:
        OSError: if it can't be read, which says nothing about its content.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            missing = {"config.json", "model.weights.h5"} - set(archive.namelist())
            if missing:
                return f"it holds no {min(missing)}"
            wrong = archive.testzip()
            return f"{wrong} in it has a wrong checksum" if wrong else None
    except OSError as error:
        if not is_of_damage(error):
            raise
        return str(error.strerror)
    # Damaged archives raise many types of errors.
    except Exception:  # noqa: BLE001
        return "it isn't a complete zip archive"


def save_model(model: BranchClassifier, path: Path) -> None:
    """Writes a `.keras` file atomically."""
    with replacing(path) as temporary:
        model.save(temporary)
