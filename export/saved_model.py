"""Export to SavedModel, for TensorFlow Serving and TensorFlow: neither Keras nor this project is needed to run it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from clan_tf.data.pipeline import View, evaluation_view
from clan_tf.export.encoded_photos import decode_upright
from clan_tf.export.options import Io
from clan_tf.export.warmup import write_warmup
from clan_tf.files import written_by_tensorflow
from clan_tf.rejection import Rejection
from clan_tf.runtime import Contract
from clan_tf.runtime.contract import CONTRACT_FILE, LABELS_FILE
from clan_tf.runtime.exported import ACCEPTED, LABEL_IDS, PROBABILITIES, SERVE_BYTES


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """Writes any Keras model as a SavedModel whose signature `serve` takes batches of any size.

    Args:
        model: any built Keras model.
        folder: where to write; it must not exist.
    """
    with written_by_tensorflow(folder):
        model.export(str(folder), format="tf_saved_model", verbose=False)


def write_servable(
    model: keras.Model, contract: Contract, folder: Path, explained: Sequence[str] = (), io: Io = "uint8"
) -> None:
    """Writes a classifier as one version of a servable: `NAME/1/`.

    Signatures, all of which output `probabilities` `(batch, classes)` and `label_ids` `(batch,)`, the most probable
    class, and, where the contract has a rejection, `accepted` `(batch,)`, whether that class is an answer:

    - `serve_uint8` and `serve_float32` take `photos`, RGB in 0…255, `(batch, height, width, 3)` of any size, and
      `serving_default` is one of them; the model's other outputs are theirs, too;
    - `serve_bytes` takes `photos`, encoded JPEG, PNG, GIF, BMP or WebP strings `(batch,)`, turned upright by EXIF, and
      has the same outputs. Photos that can't be decoded make their request fail, as do the few kinds that
      `encoded_photos` refuses;
    - `explain`, if there are outputs for it, takes `photos` as `serving_default`, and returns only these beside the
      first two.

    Args:
        model: a model from `inference_model`.
        contract: labels and preprocessing, which become assets.
        folder: where to write; it must not exist.
        explained: the names of those outputs of the model that only `explain` has.
        io: the type that `serving_default` takes.
    """
    served = [name for name in model.output if name not in explained]
    view = View(contract.image_size, contract.resize_size, contract.resize_mode)
    photos = {dtype: tf.TensorSpec((None, None, None, 3), dtype, name="photos") for dtype in ("uint8", "float32")}
    with written_by_tensorflow(folder), tempfile.TemporaryDirectory() as assets:
        servable = _Servable(model, contract, Path(assets))
        servable.serve = _answers(
            model, contract.rejection, lambda photo: evaluation_view(_whole_levels(photo), view), served
        )
        servable.serve_bytes = _answers(
            model, contract.rejection, lambda content: evaluation_view(decode_upright(content), view), served
        )
        signatures = {f"serve_{dtype}": servable.serve.get_concrete_function(spec) for dtype, spec in photos.items()}
        strings = tf.TensorSpec((None,), tf.string, name="photos")
        signatures[SERVE_BYTES] = servable.serve_bytes.get_concrete_function(strings)
        signatures["serving_default"] = signatures[f"serve_{io}"]
        if explained:
            names = (PROBABILITIES, *explained)
            servable.explain = _answers(
                model, contract.rejection, lambda photo: evaluation_view(_whole_levels(photo), view), names
            )
            signatures["explain"] = servable.explain.get_concrete_function(photos[io])
        tf.saved_model.save(servable, str(folder), signatures=signatures)
        write_warmup(folder, contract.resize_size, io, list(signatures))


class _Servable(tf.Module):
    """Holds what the signatures need: weights and assets."""

    def __init__(self, model: keras.Model, contract: Contract, folder: Path) -> None:
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        (folder / LABELS_FILE).write_text(contract.labels, encoding="utf-8")
        (folder / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")
        self.assets = [tf.saved_model.Asset(str(folder / name)) for name in (LABELS_FILE, CONTRACT_FILE)]


def _answers(
    model: keras.Model, rejection: Rejection | None, view_of: Any, names: Sequence[str]
) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function from photos to some of a model's outputs, `label_ids` and perhaps `accepted`.

    The view of each photo is prepared alone: decoded photos of a batch may have any size.
    """

    def answer(photos: tf.Tensor) -> Mapping[str, tf.Tensor]:
        views = tf.map_fn(view_of, photos, fn_output_signature=tf.uint8)
        outputs = model(tf.cast(views, tf.float32), training=False)
        label_ids = tf.argmax(outputs[PROBABILITIES], axis=-1, output_type=tf.int32)
        answers = {name: outputs[name] for name in names} | {LABEL_IDS: label_ids}
        if rejection:
            thresholds = tf.constant(rejection.of_classes(outputs[PROBABILITIES].shape[-1]))
            reached = tf.reduce_max(outputs[PROBABILITIES], axis=-1)
            answers[ACCEPTED] = reached >= tf.gather(thresholds, label_ids)
        return answers

    return tf.function(answer, autograph=False)


def _whole_levels(photo: tf.Tensor) -> tf.Tensor:
    """Converts RGB in 0…255 of any type to uint8, as in an image file."""
    return photo if photo.dtype == tf.uint8 else tf.cast(tf.clip_by_value(photo, 0.0, 255.0) + 0.5, tf.uint8)
