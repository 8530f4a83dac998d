"""Whether `training.class_weights` fits the classes of the data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from clan_tf.data.sources.class_names import normal_name
from clan_tf.errors import listed, nearest, shown


def class_weight_problems(
    given: Literal["none", "balanced"] | Mapping[str, float], class_names: Sequence[str]
) -> Iterator[str]:
    """Yields a sentence for each name that isn't a class's, for names of one class, and if no class has a weight.

    Args:
        given: the value of `training.class_weights`.
        class_names: the classes of the data.
    """
    if isinstance(given, str):
        return
    names: dict[str, str] = {}
    for name in given:
        normal = normal_name(name)
        if normal not in class_names:
            yield (
                f"training.class_weights: no class {shown(name)}.{nearest(normal, list(class_names))} The data's "
                f"classes: {listed(class_names)}."
            )
        elif normal in names:
            yield f"training.class_weights: {names[normal]!r} and {name!r} are the same class. Leave one out."
        names.setdefault(normal, name)
    if len(given) >= len(class_names) and not any(given.values()):
        yield "training.class_weights: every class has the weight 0. Give at least one a weight above 0."


def weights_by_label(given: Mapping[str, float], class_names: Sequence[str]) -> list[float]:
    """Returns the weight of each class, 1 where none is given.

    Args:
        given: weights by the name of a class, without `class_weight_problems`.
        class_names: the classes of the data, in the order of their labels.
    """
    weights = {normal_name(name): weight for name, weight in given.items()}
    return [weights.get(name, 1.0) for name in class_names]
