"""Whether a search space fits an experiment."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from clan_tf.config import Experiment, with_values
from clan_tf.errors import UserError
from clan_tf.models.backbones import backbone_spec
from clan_tf.search.space import Choice, Integer, Parameter, SearchConfig, Taps, mistakes_in, values_of


def fit_to_experiment(search: SearchConfig, experiment: Experiment, space: str | Path) -> SearchConfig:
    """The search with the backbone's taps in place, if all its values suit the experiment.

    Args:
        search: what `load_search` has read.
        experiment: what is searched.
        space: names the search in messages.

    Raises:
        UserError: naming every key that the experiment doesn't have, and every value that a key doesn't take.
    """
    parameters = {
        key: _with_layers(parameter, experiment) if isinstance(parameter, Taps) else parameter
        for key, parameter in search.parameters.items()
    }
    mistakes = [text for key in parameters for text in _mistakes(key, parameters, experiment)]
    if "training.seed" in parameters:
        mistakes.append("training.seed: isn't searched; --repeats trains every trial with several seeds.")
    if "training.epochs" in parameters and search.algorithm == "hyperband":
        mistakes.append("training.epochs: is chosen by hyperband itself.")
    if mistakes:
        raise mistakes_in(space, list(dict.fromkeys(mistakes)))
    return search.model_copy(update={"parameters": parameters})


def _with_layers(taps: Taps, experiment: Experiment) -> Choice:
    usual = backbone_spec(experiment.model.backbone).mid[3]
    layers = [list(names) for names in combinations(usual, taps.count)]
    if not layers:
        raise UserError(
            f"taps: count must be at most {len(usual)}, the usual mid-level layers of {experiment.model.backbone}; "
            f"received {taps.count}. Or name layers: kind: choice."
        )
    return Choice(kind="choice", values=layers, when=taps.when)


def _mistakes(key: str, parameters: dict[str, Parameter], experiment: Experiment) -> Iterator[str]:
    section = key.partition(".")[0]
    siblings = any(other != key and other.startswith(f"{section}.") for other in parameters)
    for value in _samples(parameters[key]):
        try:
            with_values(experiment, {key: value})
        except UserError as error:
            for line in str(error).splitlines():
                # What two keys of a section must agree on is known when both have a value.
                if not (siblings and line.startswith(f"{section}: ")):
                    yield line


def _samples(parameter: Parameter) -> Sequence[Any]:
    """Values that stand for all: those of a choice; of a range both ends, and one between them that isn't whole."""
    values = values_of(parameter)
    if values is not None:
        return values
    ends = [parameter.min, parameter.max]
    between = parameter.min + 0.3781 * (parameter.max - parameter.min)
    return ends if isinstance(parameter, Integer) else [*ends, between]
