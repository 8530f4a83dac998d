"""The base of all models: branches, their combination, and training on one label per photo."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import keras

from clan_tf.choices import FORMER_DEFAULTS, Combination, ResizeMode, chosen_weights, temperature_of
from clan_tf.errors import nearest, shown
from clan_tf.layers.relation import Tensor
from clan_tf.models.arguments import is_model_name
from clan_tf.models.branch_values import full_loss_weights, full_temperatures
from clan_tf.models.combination import COMBINED, branch_output, combine, combined_output
from clan_tf.models.compiling import CompiledByBranch
from clan_tf.models.phases import Phase, phase_of
from clan_tf.rejection import Rejection, checked_rejection
from clan_tf.taxonomy import Taxonomy

NOT_SAVED = ("weights", "scales")
"""Constructor arguments that a saved model doesn't need: it has its own weights and names its layers."""
OF_KERAS = ("name", "trainable")
"""Arguments that every Keras model takes."""
OF_ALL = ("temperatures", "taxonomy", *OF_KERAS)
"""Arguments that every model takes by their names, beside those of its constructor."""
_CATCH_ALL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class BranchClassifier(CompiledByBranch):
    """A classifier with one output per branch and one that combines them; subclasses build the graph.

    The input is RGB in 0…255, `(batch, image_size, image_size, 3)`, of any dtype; preprocessing is inside. The output
    is a dict of probabilities `(batch, classes)` in float32: one entry per branch, and `combined`.

    `model.features` names every symbolic intermediate; `model.with_outputs(...)` returns a model that outputs any of
    them. `fit`, `evaluate` and `predict` work as for any Keras classifier: one label per photo trains every branch with
    its weight. Losses of a model's own (`own_losses`) are trained by `clan-tf train` alone.

    Args:
        inputs: the symbolic photos.
        features: symbolic intermediates by name, among them `logits_BRANCH` for every branch.
        branches: the branches' names, in the order of `logits_BRANCH`.
        arguments: the constructor arguments of the subclass, except the backbone's weights.
        branch_weights: weights of branches in the combination, 1 where none is given; a branch of weight 0 has no part
            in it.
        temperatures: what the logits of outputs are divided by, from `clan-tf calibrate`, 1 where none is given; every
            model takes it by its name.
        taxonomy: groups of the classes at ever coarser levels, or the table of them; every model takes it by its name.
        **kwargs: `name`, letters, digits, dots, dashes and underscores, and `trainable`, as of every Keras model.

    Raises:
        TypeError: for another argument: subclasses hand on here what they don't know.
        ValueError: for a name that a saved model can't have.

    Attributes:
        HEAD_KIND: what a head takes; heads of another kind aren't copied from one model to another.
        HEAD_ARGUMENTS: arguments on which the head's features depend; nor are those that differ in one of them.
        HEAD_LAYERS: layers between the backbone and the head; nor are those for which these weren't copied.
        ATTENTION_LAYERS: layers that are trained alone, by the model's own losses, in one of `attention_every` epochs.
        CLASS_LAYERS: layers with weights of single classes; they are copied only between models of the same classes.
        LOSS_FEATURES: features that the model's own losses take.
        LOSSES_OVER_PHOTOS: which of these compare or average photos that are computed at a time.
        WARPED: stages whose map is of a resampled photo, and the feature that holds where its rows and columns lie in
            the photo, in pixels: `(batch, 2, size)`.
        STAGES: the maps of which a branch's head takes features, in `explain`, where it isn't one of the branch's name.
        PUBLISHED: what is published of the method's size, in words; empty if nothing is.
        ROUNDING: how many times larger than others' the differences are that rounding makes in the probabilities.
        prepared: those of `HEAD_LAYERS` whose weights have been taken over from another model.
        branches: the branches' names.
        branch_weights: each branch's weight in the combination.
        temperatures: what each output's logits are divided by.
        rejection: when the combined prediction is no answer; `None` if it always is one. It changes no output.
        taxonomy: groups of the classes at ever coarser levels; `None` if none are given.
        features: every symbolic intermediate by name.
        backbone_model: the network that `backbone` names, set by the subclass.

    Every constructor argument is an attribute of the same name, with `None` resolved: `class_names` are numbers if the
    model was built without names, `resize_size` is `image_size`, `loss_weights` has every branch.
    """

    HEAD_KIND: ClassVar[str] = "pooled"
    HEAD_ARGUMENTS: ClassVar[tuple[str, ...]] = ("head_batch_norm",)
    HEAD_LAYERS: ClassVar[tuple[str, ...]] = ()
    ATTENTION_LAYERS: ClassVar[tuple[str, ...]] = ()
    CLASS_LAYERS: ClassVar[tuple[str, ...]] = ()
    LOSS_FEATURES: ClassVar[tuple[str, ...]] = ()
    LOSSES_OVER_PHOTOS: ClassVar[tuple[str, ...]] = ()
    STAGES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    WARPED: ClassVar[Mapping[str, str]] = {}
    PUBLISHED: ClassVar[str] = ""
    ROUNDING: float = 1.0
    prepared: frozenset[str] = frozenset()
    rejection: Rejection | None = None

    backbone: str
    classes: int
    image_size: int
    combination: Combination = "logits"
    dropout: float
    head_batch_norm: bool = False
    attention_every: int | None = None
    attention_rate: float = 1.0
    class_names: list[str]
    resize_size: int
    resize_mode: ResizeMode
    backbone_model: keras.Model

    def __init__(
        self,
        inputs: Tensor,
        features: Mapping[str, Tensor],
        branches: Sequence[str],
        arguments: Mapping[str, Any],
        branch_weights: Mapping[str, float] | None = None,
        temperatures: Mapping[str, float] | None = None,
        taxonomy: Taxonomy | Sequence[Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_keywords(type(self), kwargs)
        logits = [features[f"logits_{branch}"] for branch in branches]
        rule = arguments.get("combination", self.combination)
        weights = {branch: 1.0 for branch in branches} | dict(branch_weights or {})
        used = [branch for branch in branches if weights[branch] > 0]
        given = full_temperatures(temperatures, branches, used)
        divided = dict(given) if any(value != 1 for value in given.values()) else {}
        outputs = {
            branch: branch_output(own, branch, divided.get(branch))
            for branch, own in zip(branches, logits, strict=True)
        }
        temperature = temperature_of(used, given) if divided else None
        combined_by = chosen_weights(branches, weights)
        softmaxes = list(outputs.values())
        outputs[COMBINED] = combined_output(logits, rule, combined_by, COMBINED, temperature, softmaxes)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.branches = tuple(branches)
        self.branch_weights = weights
        self.temperatures = given
        self.features = {**features, **outputs}
        for name, value in arguments.items():
            setattr(self, name, value)
        self.loss_weights = full_loss_weights(arguments["loss_weights"], branches)
        self.class_names = list(arguments["class_names"] or map(str, range(arguments["classes"])))
        self.resize_size = arguments["resize_size"] or arguments["image_size"]
        table = taxonomy.to_table() if isinstance(taxonomy, Taxonomy) else taxonomy
        self.taxonomy = Taxonomy.of(table, self.class_names) if table is not None else None

    @classmethod
    def head_inputs(cls, settings: Mapping[str, Any], channels: int) -> int:
        """Returns the number of a class's weights in a head, or less, from the constructor's arguments.

        Args:
            settings: the arguments by name; those left out have their defaults.
            channels: the fewest channels of the map that the head takes.
        """
        return channels

    @classmethod
    def fewest_weights(cls, settings: Mapping[str, Any]) -> dict[str, int]:
        """Returns the number of weights, or less, of parts that can be large, by the argument that makes them so.

        Args:
            settings: the constructor's arguments by name; those left out have their defaults.
        """
        return {}

    @classmethod
    def head_arguments(cls, branch: str) -> tuple[str, ...]:
        """Returns those of `HEAD_ARGUMENTS` that matter to one branch's head."""
        return cls.HEAD_ARGUMENTS

    @classmethod
    def head_layers(cls, branch: str) -> tuple[str, ...]:
        """Returns those of `HEAD_LAYERS` that are before one branch's head."""
        return cls.HEAD_LAYERS

    @classmethod
    def layer_arguments(cls) -> tuple[str, ...]:
        """Returns those of `HEAD_ARGUMENTS` that matter to the `HEAD_LAYERS`."""
        return cls.HEAD_ARGUMENTS

    @property
    def is_prepared(self) -> bool:
        """Whether all weights that start from photos have been taken over from another model."""
        own = {layer.name for layer in self.layers} & {*self.HEAD_LAYERS}
        return bool(own) and own <= self.prepared

    @property
    def needs_photos_to_start(self) -> bool:
        """Whether some weights start from what `prepare` sees."""
        return False

    def prepare(self, batches: Iterable[Any]) -> None:
        """Sets weights that start from the training photos; training calls it before the first step of a new run.

        Args:
            batches: every photo once, gone through once: photos, RGB in 0…255 `(batch, image_size, image_size, 3)`,
                labels `(batch,)`, and weights `(batch,)`, where 0 marks padding.

        Raises:
            CheckFailed: if features of the photos aren't finite.
        """

    def with_outputs(self, names: Iterable[str]) -> keras.Model:
        """Returns a model with the same weights that outputs a dict of the named features.

        Raises:
            ValueError: if there is no such feature.
        """
        for name in names:
            if name not in self.features:
                raise ValueError(
                    f"`names` must be features of the model: {', '.join(self.features)}. Received: {name!r}."
                    f"{nearest(name, list(self.features))}"
                )
        return keras.Model(self.input, {name: self.features[name] for name in names})

    @property
    def is_calibrated(self) -> bool:
        """Whether a temperature isn't 1."""
        return any(value != 1 for value in self.temperatures.values())

    @property
    def sharpness(self) -> float:
        """How many times larger than without temperatures the differences are that rounding makes."""
        return max(1.0, *(1 / value for value in self.temperatures.values()))

    @property
    def own_loss_weights(self) -> dict[str, float]:
        """Weights of the losses that the model has beside the branches' cross-entropies, by name."""
        return {}

    @property
    def other_heads(self) -> dict[str, keras.layers.Layer]:
        """Dense layers on pooled features, with a column for each class, that no output is made of, by name."""
        return {}

    @property
    def backbones(self) -> tuple[keras.Model, ...]:
        """All networks that start from the weights of `backbone`."""
        return (self.backbone_model,)

    def calls_in_training(self, layer: keras.layers.Layer) -> int:
        """Returns how many times training computes one of the model's layers for a photo."""
        return 1

    def phase(self, epoch: int) -> Phase:
        """Returns what an epoch trains in `clan-tf train`, counted from 0; Keras' `fit` always trains all."""
        learns = any(self.own_loss_weights.values())
        layers = (*self.layers, *self.other_heads.values())
        return phase_of(epoch, self.attention_every, layers, self.ATTENTION_LAYERS, learns)

    def own_losses(self, outputs: Mapping[str, Tensor], shares: Tensor) -> dict[str, Tensor]:
        """Computes the model's own losses, which `clan-tf train` minimises as `phase` says, and Keras' `fit` doesn't.

        A loss that compares photos sees those that are computed at a time: one device's part of a batch, or of one of
        the parts in which it is accumulated.

        Args:
            outputs: those of `training_model`.
            shares: of each photo's classes, one of 1 without MixUp and CutMix, float32 `(photos, classes)`.

        Returns:
            Each photo's value `(photos,)` by the names of `own_loss_weights`.
        """
        return {}

    def combine(self, probabilities: Mapping[str, Tensor], branches: Sequence[str]) -> Tensor:
        """Combines this model's probabilities of some branches, `(photos, classes)`, as its own output combines all."""
        own, weights = [probabilities[branch] for branch in branches], chosen_weights(branches, self.branch_weights)
        temperatures = [self.temperatures[branch] for branch in branches]
        return combine(own, self.combination, weights, temperatures, temperature_of(branches, self.temperatures))

    def training_model(self) -> keras.Model:
        """Returns a model with the same weights that outputs logits by branch, and the `LOSS_FEATURES`."""
        features = {name: self.features[name] for name in self.LOSS_FEATURES}
        return keras.Model(self.input, {**self.logits_model().output, **features})

    def logits_model(self) -> keras.Model:
        """Returns a model with the same weights that outputs a dict of logits by branch."""
        return keras.Model(self.input, {branch: self.features[f"logits_{branch}"] for branch in self.branches})

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values; weights aren't among them."""
        names = [name for name in argument_names(type(self)) if name not in NOT_SAVED]
        arguments = {name: _plain(getattr(self, name)) for name in names}
        # Left out where it says nothing, so that older versions can read the file.
        given: dict[str, Any] = {"temperatures": dict(self.temperatures)} if self.is_calibrated else {}
        if self.rejection:
            given |= {"accept_error": self.rejection.accept_error, "thresholds": list(self.rejection.thresholds)}
        given |= {"taxonomy": self.taxonomy.to_table()} if self.taxonomy else {}
        return {**arguments, **given, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "BranchClassifier":
        """Makes a model without loading backbone weights: a saved model has its own, and nothing is downloaded.

        Arguments that older files lack have the values of `FORMER_DEFAULTS`.
        """
        names = argument_names(cls)
        config = {**{name: value for name, value in FORMER_DEFAULTS.items() if name in names}, **config}
        rejection = config.pop("accept_error", None), config.pop("thresholds", None)
        model = cls(**{name: value for name, value in config.items() if name != "weights"})
        model.rejection = checked_rejection(*rejection, model.classes)
        return model


def argument_names(kind: type[BranchClassifier]) -> list[str]:
    """Lists a model's constructor arguments, with those of its bases where it hands `**kwargs` on to them."""
    names: dict[str, None] = {}
    for base in kind.__mro__[: kind.__mro__.index(BranchClassifier)]:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base).parameters.values())
        names |= dict.fromkeys(each.name for each in parameters if each.kind not in _CATCH_ALL)
        if all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in parameters):
            break
    return list(names)


def _check_keywords(kind: type[BranchClassifier], given: Mapping[str, Any]) -> None:
    """Raises an error unless arguments that a model's constructors don't know are Keras', and its name can be saved."""
    for name in given:
        if name not in OF_KERAS:
            known = [*argument_names(kind), *OF_ALL]
            remedy = nearest(name, known) or f" Its arguments: {', '.join(dict.fromkeys(known))}."
            raise TypeError(f"{kind.__name__} has no argument {name!r}.{remedy}")
    own_name = given.get("name")
    if own_name is not None and not is_model_name(own_name):
        raise ValueError(
            f"`name` must be letters, digits, dots, dashes and underscores. Received: name={shown(own_name)}"
        )


def _plain(value: Any) -> Any:
    """Removes the wrappers with which Keras tracks the collections of a model."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list | tuple) else value
