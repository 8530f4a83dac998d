"""What both benchmarks of a network start with: its model with random weights, and how it computes."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from clan_tf.benchmark.comparison import photos_to_compare, random_batch, settle
from clan_tf.config import Experiment, with_values
from clan_tf.limits import AUTO_BATCH_SIZE
from clan_tf.models import BranchClassifier
from clan_tf.models.build import build_model
from clan_tf.progress import Progress
from clan_tf.training.devices import choose_precision, precision_scope, use_device
from clan_tf.training.memory import fit_batch
from clan_tf.training.plan import count_classes
from clan_tf.training.repeatable import make_repeatable, must_be_repeatable


@dataclass(frozen=True)
class Prepared:
    """A model to be measured.

    Attributes:
        experiment: what is measured, with numbers for `auto`.
        model: its model, with random weights.
        notes: what the reader of the figures should know.
    """

    experiment: Experiment
    model: BranchClassifier
    notes: tuple[str, ...]

    @property
    def dtype(self) -> str:
        """The type of the feature maps: "float32", "bfloat16" or "float16"."""
        return self.experiment.training.precision.removeprefix("mixed_")

    @property
    def loss_weights(self) -> np.ndarray:
        """The branches' loss weights, float32 `(branches,)`."""
        return np.array([self.model.loss_weights[branch] for branch in self.model.branches], "float32")

    @property
    def compared_photos(self) -> int:
        """How many random photos the contenders are compared on."""
        return photos_to_compare(self.model, self.experiment.training.batch_size)

    def float32_copy(self) -> BranchClassifier:
        """Returns a model with the same weights that computes in float32."""
        with precision_scope("float32"):
            copy = build_model(self.experiment, self.model.classes, load_weights=False)
        copy.set_weights(self.model.get_weights())
        return copy


def prepare(experiment: Experiment, progress: Progress, is_training: bool) -> Prepared:
    """Builds the model of an experiment with random weights, on this machine's device and in its precision.

    GPU memory is taken as it is needed, so that PyTorch finds some, too.

    Raises:
        UserError: if the experiment doesn't say how many classes there are, or its model can't be built.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    use_device(experiment.training.device)
    training = experiment.training
    training = training.model_copy(update={"precision": choose_precision(training.precision)})
    experiment = experiment.model_copy(update={"training": training})
    keras.utils.set_random_seed(training.seed)
    notes = ["Random photos and random weights were used: model.weights and model.init aren't loaded."]
    if tf.config.list_logical_devices("GPU"):
        notes.append("One GPU was measured.")
    if is_training and must_be_repeatable(training):
        make_repeatable()
        notes.append("TensorFlow's op determinism is on, as in this training; PyTorch has no such switch on.")
    model = _build(experiment, count_classes(experiment))
    experiment = fit_batch(experiment, model, tf.distribute.get_strategy(), AUTO_BATCH_SIZE, progress.note)
    return _settled(Prepared(experiment, model, tuple(notes)))


def plain_of(prepared: Prepared) -> Prepared | None:
    """Returns the plain backbone of a CLAN, with one head; `None` if that is what is measured."""
    if prepared.experiment.model.architecture == "plain":
        return None
    experiment = with_values(prepared.experiment, {"model.architecture": "plain", "model.loss_weights": {}})
    return _settled(Prepared(experiment, _build(experiment, prepared.model.classes), ()))


def _build(experiment: Experiment, classes: int) -> BranchClassifier:
    """Builds the model with random weights, in the experiment's precision."""
    with precision_scope(experiment.training.precision):
        return build_model(experiment, classes, load_weights=False)


def _settled(prepared: Prepared) -> Prepared:
    """Makes the random weights fit for a comparison, and returns the same."""
    model = prepared.model
    settle(model, random_batch(model.image_size, model.classes, prepared.compared_photos)[0])
    return prepared
