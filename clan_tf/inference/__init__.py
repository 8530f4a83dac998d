"""A MODEL of any kind and its answers.

Keras models need TensorFlow and exported files don't, so modules that run Keras models are imported on first use.
"""

from typing import TYPE_CHECKING

from clan_tf.inference.exported_predictor import ExportedPredictor
from clan_tf.inference.locate import LocatedModel, locate, locate_keras
from clan_tf.inference.open import open_predictor
from clan_tf.inference.predict import predict
from clan_tf.inference.predictor import Predictor
from clan_tf.inference.sorting import UNSURE, UNSURE_BELOW, sort_photos
from clan_tf.inference.table import require_table_path, write_predictions
from clan_tf.lazy import lazy_names

if TYPE_CHECKING:
    from clan_tf.inference.keras_predictor import KerasPredictor, ProbabilityFunction

__all__ = [
    "ExportedPredictor",
    "KerasPredictor",
    "LocatedModel",
    "Predictor",
    "ProbabilityFunction",
    "UNSURE",
    "UNSURE_BELOW",
    "locate",
    "locate_keras",
    "open_predictor",
    "predict",
    "require_table_path",
    "sort_photos",
    "write_predictions",
]
__getattr__, __dir__ = lazy_names(
    __name__, dict.fromkeys(("KerasPredictor", "ProbabilityFunction"), "clan_tf.inference.keras_predictor")
)
