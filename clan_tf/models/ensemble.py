"""Several trained models as one: the mean of their probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from clan_tf import limits
from clan_tf.choices import chosen_weights, temperature_of
from clan_tf.errors import shown
from clan_tf.layers.relation import Tensor
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.combination import combined_logits_output

ALIKE = ("class_names", "image_size", "resize_size", "resize_mode", "taxonomy")
"""What all members of an ensemble have alike."""
OF_THE_ENSEMBLE = ("class_names", "taxonomy", "accept_error", "thresholds", "name")
"""Settings of a model that an ensemble has once for all members, or that its members don't keep."""


@dataclass(frozen=True)
class Member:
    """A model of an ensemble.

    Keras doesn't look into this class, so that parts of the model that the ensemble doesn't use aren't saved with it.

    Attributes:
        model: the model.
        network: the part of it that the ensemble computes, a layer of it: from photos to the logits `(batch, classes)`
            of the combined and calibrated prediction.
    """

    model: BranchClassifier
    network: keras.Model


@keras.saving.register_keras_serializable(package="clan_tf")
class Ensemble(BranchClassifier):
    """Models of the same classes and photo sizes, whose probabilities are averaged.

    Its branches are `member_1`, `member_2` …, each the combined prediction of one model as that model gives it, with
    its temperature. `combined` is the mean of their probabilities. What a member doesn't need for its combined
    prediction isn't part of the ensemble, nor are the thresholds below which it withholds an answer. `features` holds
    the logits `logits_member_1` …

    Args:
        members: from 2 to 20 models, which become part of the ensemble: it has their weights, not a copy.
        **kwargs: `name` and `temperatures`, as of every model; `taxonomy` is that of the members.

    Attributes:
        members: for each model a `Member`.

    Raises:
        ValueError: for another number of members, an ensemble among them, or members that aren't alike.
    """

    def __init__(self, members: Sequence[BranchClassifier], **kwargs: Any) -> None:
        require_members(members)
        first = members[0]
        arguments = {name: getattr(first, name) for name in ("classes", "class_names", *ALIKE[1:4])}
        arguments |= {"combination": "probabilities", "dropout": 0.0, "loss_weights": {}}

        # Layers
        networks = {f"member_{n}": member_network(model, f"network_{n}") for n, model in enumerate(members, start=1)}

        # Graph
        inputs = keras.Input((first.image_size, first.image_size, 3), name="photos")
        features = {f"logits_{name}": network(inputs) for name, network in networks.items()}
        super().__init__(inputs, features, tuple(networks), arguments, **{"taxonomy": first.taxonomy, **kwargs})

        # Config
        self.members = tuple(map(Member, members, networks.values()))
        self.ROUNDING = max(model.ROUNDING for model in members)

    @property
    def backbones(self) -> tuple[keras.Model, ...]:
        """Those of all members."""
        return tuple(each for member in self.members for each in member.model.backbones)

    @property
    def sharpness(self) -> float:
        """That of its sharpest member, and of its own temperatures."""
        return super().sharpness * max(member.model.sharpness for member in self.members)

    def get_config(self) -> dict[str, Any]:
        """Returns the members' classes and constructor arguments as plain values, and what they share once."""
        members = [
            {
                "registered_name": keras.saving.get_registered_name(type(member.model)),
                "settings": {
                    name: value for name, value in member.model.get_config().items() if name not in OF_THE_ENSEMBLE
                },
            }
            for member in self.members
        ]
        # `members` aren't plain values as an attribute.
        return {**super().get_config(), "members": members, "class_names": list(self.class_names)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "BranchClassifier":
        """Makes the members and their ensemble, without loading backbone weights."""
        config = dict(config)
        shared: dict[str, Any] = {name: config[name] for name in ("class_names", "taxonomy") if name in config}
        config.pop("class_names", None)
        members = [
            member_class(each["registered_name"]).from_config({**each["settings"], **shared})
            for each in config.pop("members")
        ]
        return super().from_config({**config, "members": members}, custom_objects)


def require_members(members: Sequence[Any]) -> None:
    """Raises a `ValueError` unless models can be the members of an ensemble."""
    if not 2 <= len(members) <= limits.MEMBERS:
        raise ValueError(f"`members` must be from 2 to {limits.MEMBERS} models. Received: {len(members)}")
    for model in members:
        if not isinstance(model, BranchClassifier) or isinstance(model, Ensemble):
            raise ValueError(f"`members` must be models that aren't ensembles. Received: a {type(model).__name__}")
    if len({id(model) for model in members}) < len(members):
        raise ValueError("`members` must be different models. Received: the same one twice")
    for name in ALIKE:
        first, *others = (getattr(model, name) for model in members)
        for number, value in enumerate(others, start=2):
            if value != first:
                raise ValueError(
                    f"`members` must have the same {', '.join(ALIKE[:-1])} and {ALIKE[-1]}. Received: "
                    f"{name}={shown(first)} of member 1 and {shown(value)} of member {number}"
                )


def member_class(registered_name: Any) -> type[BranchClassifier]:
    """Returns the class of a member by its registered name; raises a `ValueError` if it can't be one."""
    found = keras.saving.get_registered_object(registered_name) if isinstance(registered_name, str) else None
    if not (isinstance(found, type) and issubclass(found, BranchClassifier)) or issubclass(found, Ensemble):
        raise ValueError(
            f"members of an ensemble must be models of clan-tf that aren't ensembles; received {shown(registered_name)}"
        )
    return found


def member_network(model: BranchClassifier, name: str) -> keras.Model:
    """Returns the part of a model that computes the logits of its combined prediction, with its temperature."""
    used = [branch for branch in model.branches if model.branch_weights[branch] > 0]
    logits: list[Tensor] = [model.features[f"logits_{branch}"] for branch in used]
    weights: Mapping[str, float] = model.branch_weights
    temperature = temperature_of(used, model.temperatures) if model.is_calibrated else None
    joined = combined_logits_output(logits, model.combination, chosen_weights(used, weights), temperature)
    return keras.Model(model.input, joined, name=name)
