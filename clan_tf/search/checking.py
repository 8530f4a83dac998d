"""Whether a search space fits an experiment."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from clan_tf import limits
from clan_tf.config import Experiment, architectures_with, ignored_keys, with_values
from clan_tf.config.mistakes import mistakes_in
from clan_tf.data import read_source
from clan_tf.data.check.class_weights import class_weight_problems
from clan_tf.errors import UserError, nearest
from clan_tf.models.backbones import backbone_spec
from clan_tf.models.build import build_model
from clan_tf.search.size import grid_size
from clan_tf.search.space import Choice, Integer, Parameter, Range, SearchConfig, Taps, values_of
from clan_tf.training.step import metric_columns

ARCHITECTURE = "model.architecture"
STRUCTURE = (
    ARCHITECTURE,
    "model.backbone",
    "model.scales",
    "model.mid",
    *(f"model.{name}.base" for name in ("bcnn", "cbp", "lrbp", "dfb", "tasn", "ma_cnn")),
    "model.dbt.groups",
    "model.dbt.group_loss_weight",
    "model.mamc.pair_loss_weight",
    "model.tasn.sampled_size",
    *(f"model.ra_cnn.{name}" for name in ("crops", "crop_size", "proposal_grid", "proposal_units", "square_init")),
    "model.ma_cnn.parts",
)
"""Keys that determine the branches and losses, and those whose valid values depend on the backbone or the photos."""
BY_BRANCH = ("model.loss_weights.", "training.loss_weight_schedules.")
"""Prefixes of keys that end with a branch."""


def fit_to_experiment(search: SearchConfig, experiment: Experiment, space: str | Path) -> SearchConfig:
    """Returns the search with the backbone's taps filled in, after checking that all its values fit the experiment.

    Args:
        search: what `load_search` returns.
        experiment: the experiment to search.
        space: names the search in messages.

    Raises:
        UserError: naming every key that the experiment lacks, and every value that a key doesn't accept.
    """
    if "model.backbone" in search.parameters and any(isinstance(each, Taps) for each in search.parameters.values()):
        raise UserError(f"{space}: kind: taps means layers of one backbone, but model.backbone is searched.")
    parameters: dict[str, Parameter] = {
        key: _with_layers(parameter, experiment) if isinstance(parameter, Taps) else parameter
        for key, parameter in search.parameters.items()
    }
    mistakes = [text for key in parameters for text in _mistakes(key, parameters, experiment)]
    mistakes += [text for key in parameters for text in _ignored(key, search, experiment)]
    if "training.seed" in parameters:
        mistakes.append("training.seed: isn't searched; --repeats trains every trial with several seeds.")
    if "training.epochs" in parameters and search.algorithm == "hyperband":
        mistakes.append("training.epochs: hyperband chooses it itself.")
    if mistakes:
        raise mistakes_in(space, list(dict.fromkeys(mistakes)))
    fitted = search.model_copy(update={"parameters": parameters})
    _require_end(fitted, space)
    return fitted


def _require_end(search: SearchConfig, space: str | Path) -> None:
    """Raises a `UserError` for a grid that is too large and has no limit."""
    if search.algorithm == "grid" and search.trials is None and search.hours is None:
        trials = grid_size(search)
        if trials > limits.TRIALS:
            raise UserError(
                f"{space}: a grid of {trials:,} trials; at most {limits.TRIALS:,} are run. Search fewer values, or "
                "set trials or hours."
            )


def check_models(search: SearchConfig, experiment: Experiment, space: str | Path) -> None:
    """Builds a model for every value that may have branches other than the experiment's.

    Args:
        search: what `fit_to_experiment` returns.
        experiment: the experiment to search.
        space: names the search in messages.

    Raises:
        UserError: naming every layer, number of scales and branch that doesn't exist, an objective that no model logs,
            or what is wrong with the data.
    """
    class_names = read_source(experiment.data).class_names
    classes = len(class_names)
    branches: dict[str, None] = {}
    own_losses: list[set[str]] = []
    mistakes = [text for key in search.parameters for text in _wrong_classes(key, search, experiment, class_names)]
    for values in _structures(search):
        try:
            model = build_model(with_values(experiment, values), classes, load_weights=False)
            branches |= dict.fromkeys(model.branches)
            own_losses.append(set(model.own_loss_weights))
        except UserError as error:
            mistakes += str(error).splitlines()
    mistakes = mistakes or [text for key in search.parameters for text in _missing_branch(key, list(branches))]
    if mistakes:
        raise mistakes_in(space, list(dict.fromkeys(mistakes)))
    # A loss that only some of the trials have can't rank them all. Where it depends on searched keys, the experiment as
    # it is needn't be a trial.
    decided = any(key in search.parameters for key in STRUCTURE)
    shared = sorted(set.intersection(*own_losses[1 if decided else 0 :]))
    validated, trained = metric_columns(list(branches)), metric_columns(list(branches), shared)
    valid = [*(f"val_{name}" for name in validated), *trained]
    if search.objective not in valid:
        raise UserError(
            f"objective: there is no {search.objective!r}.{nearest(search.objective, valid)} "
            f"There are: {', '.join(valid)}."
        )


def _structures(search: SearchConfig) -> Iterator[dict[str, Any]]:
    """Yields no changes first, then each value of the `STRUCTURE` keys with values that its conditions allow."""
    yield {}
    for key in STRUCTURE:
        if key in search.parameters:
            for value in _samples(search.parameters[key]):
                yield {**_allowing(key, search), key: value}


def _allowing(key: str, search: SearchConfig) -> dict[str, Any]:
    """Returns, for each key that `key` depends on, the first value that its conditions allow."""
    values: dict[str, Any] = {}
    for parent, allowed in search.parameters[key].when.items():
        values |= {**_allowing(parent, search), parent: allowed[0]}
    return values


def _missing_branch(key: str, branches: Sequence[str]) -> Iterator[str]:
    for prefix in BY_BRANCH:
        branch = key.removeprefix(prefix).partition(".")[0]
        if key.startswith(prefix) and branch not in branches:
            yield f"{key}: no branch {branch!r}.{nearest(branch, list(branches))} There are: {', '.join(branches)}."


def _ignored(key: str, search: SearchConfig, experiment: Experiment) -> Iterator[str]:
    """Says with which architectures of the search a key of `model` would be ignored."""
    if not key.startswith("model."):
        return
    searched = search.parameters.get(ARCHITECTURE)
    every = _samples(searched) if searched else [experiment.model.architecture]
    name = key.removeprefix("model.").partition(".")[0]
    without = [each for each in every if each in _allowed(key, search, every) and name in ignored_keys(str(each))]
    if without:
        takers = architectures_with(name)
        one = " or ".join(f"--set {ARCHITECTURE}={taker}" for taker in takers)
        way_out = f"when: {{{ARCHITECTURE}: [{', '.join(takers)}]}}" if searched else one
        named = ", ".join(map(str, without))
        yield f"{key}: of no use with {ARCHITECTURE}={named}. Search another key, or use {way_out}."


def _allowed(key: str, search: SearchConfig, every: Sequence[Any]) -> Sequence[Any]:
    """Returns the architectures with which the conditions of a key, and those of the keys it depends on, hold."""
    allowed = list(every)
    for parent, values in search.parameters[key].when.items():
        possible = values if parent == ARCHITECTURE else _allowed(parent, search, every)
        allowed = [each for each in allowed if each in possible]
    return allowed


def _wrong_classes(key: str, search: SearchConfig, experiment: Experiment, class_names: Sequence[str]) -> Iterator[str]:
    """Yields what is wrong with classes that a key gives weights to."""
    if f"{key}.".startswith("training.class_weights."):
        for value in _samples(search.parameters[key]):
            weights = with_values(experiment, {key: value}).training.class_weights
            yield from class_weight_problems(weights, class_names)


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
                # A rule between two keys of a section can be checked only once both have a value.
                if not (siblings and line.startswith(f"{section}: ")):
                    yield line


def _samples(parameter: Parameter) -> Sequence[Any]:
    """Returns values that represent all: those of a choice; both ends of a range and a fraction between them."""
    if not isinstance(parameter, Range):
        return values_of(parameter) or []
    ends = [parameter.min, parameter.max]
    between = parameter.min + 0.3781 * (parameter.max - parameter.min)
    return ends if isinstance(parameter, Integer) else [*ends, between]
