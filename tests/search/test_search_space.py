"""Search spaces: what they may say, what is wrong with them, and how large they are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from clan_tf.config import Experiment, load_experiment
from clan_tf.config.methods import METHODS
from clan_tf.errors import UserError
from clan_tf.search import SearchConfig, load_search
from clan_tf.search.checking import fit_to_experiment
from clan_tf.search.hyperparameters import decode, make_hyperparameters
from clan_tf.search.size import planned_epochs, planned_trials
from clan_tf.search.space import Choice, shipped_spaces
from helpers import TINY_DEMO

RELATION = {"kind": "choice", "values": ["gaussian", "embedded_gaussian", "dot_product"]}
WIDTH = {"kind": "int", "min": 8, "max": 64, "sampling": "log", "step": 2}


@pytest.fixture
def demo() -> Experiment:
    return load_experiment(TINY_DEMO)


def grid(**parameters: Any) -> SearchConfig:
    named = {key.replace("__", "."): parameter for key, parameter in parameters.items()}
    return SearchConfig.model_validate({"algorithm": "grid", "parameters": named})


def read(tmp_path: Path, content: Any, **overrides: Any) -> SearchConfig:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_search(file, overrides)


@pytest.mark.parametrize("name", list(shipped_spaces()))
@pytest.mark.parametrize("config", [TINY_DEMO, "resnet50", "vgg16_3scale"])
def test_shipped_spaces_suit_shipped_experiments(name: str, config: str) -> None:
    overrides = [f"model.architecture={name}"] if name in METHODS else []
    search = fit_to_experiment(load_search(name), load_experiment(config, overrides), name)
    assert make_hyperparameters(search).space


@pytest.mark.parametrize(("space", "architecture"), [("bcnn", "clan"), ("paper", "plain"), ("full", "lrbp")])
def test_keys_that_the_architecture_ignores_are_not_searched(space: str, architecture: str) -> None:
    experiment = load_experiment(TINY_DEMO, [f"model.architecture={architecture}"])
    with pytest.raises(
        UserError, match=rf"model\.\w+.*: of no use with model.architecture={architecture}. .*--set model.architecture="
    ):
        fit_to_experiment(load_search(space), experiment, space)


def test_a_search_over_architectures_needs_conditions() -> None:
    architectures = {"kind": "choice", "values": ["clan", "plain"]}
    search = grid(model__architecture=architectures, model__relation=RELATION)
    with pytest.raises(
        UserError, match=r"model.relation: of no use with model.architecture=plain.*when: .model.architecture: .clan.."
    ):
        fit_to_experiment(search, load_experiment(TINY_DEMO), "space")
    search = grid(
        model__architecture=architectures, model__relation={**RELATION, "when": {"model.architecture": ["clan"]}}
    )
    assert fit_to_experiment(search, load_experiment(TINY_DEMO), "space").parameters
    # Conditions hold through other keys, too.
    embed = {"kind": "int", "min": 2, "max": 4, "when": {"model.relation": ["dot_product"]}}
    relation = {**RELATION, "when": {"model.architecture": ["clan"]}}
    nested = grid(model__architecture=architectures, model__relation=relation, model__embed_dim=embed)
    assert fit_to_experiment(nested, load_experiment(TINY_DEMO), "space").parameters


def test_the_papers_space_is_relation_by_pooling() -> None:
    assert planned_trials(load_search("paper"), 10) == 9


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"model.relatoin": RELATION}, "model.relatoin: no such key. Did you mean model.relation?"),
        ({"model.relation": {"kind": "choice", "values": ["cosine"]}}, "model.relation: must be .*received 'cosine'"),
        (
            {"training.epochs": {"kind": "float", "min": 1, "max": 9}},
            "training.epochs: .* a valid integer",
        ),
        ({"training.learning_rate": {"kind": "float", "min": -1, "max": 0.1}}, "training.learning_rate: .*received -1"),
        ({"model.spatial_attention": {"kind": "int", "min": 0, "max": 5}}, "model.spatial_attention: .*boolean"),
        ({"training.seed": {"kind": "int", "min": 0, "max": 5}}, "training.seed: isn't searched; --repeats"),
        ({"model.mid": {"kind": "taps", "count": 3}}, "count must be at most 2"),
        (
            {"model.mid": {"kind": "taps", "count": 1}, "model.backbone": {"kind": "choice", "values": ["vgg16"]}},
            "taps means layers of one backbone",
        ),
    ],
)
def test_a_space_that_does_not_suit_the_experiment_is_refused(
    demo: Experiment, tmp_path: Path, parameter: dict[str, Any], message: str
) -> None:
    search = read(tmp_path, {"algorithm": "grid", "parameters": parameter})
    with pytest.raises(UserError, match=message):
        fit_to_experiment(search, demo, "space.yaml")


def test_all_mistakes_are_named_at_once(demo: Experiment) -> None:
    search = grid(model__relatoin=RELATION, training__batch_size={"kind": "choice", "values": [8, 0, "many"]})
    with pytest.raises(UserError) as raised:
        fit_to_experiment(search, demo, "space.yaml")
    assert str(raised.value).splitlines()[0] == "space.yaml: 3 mistakes"
    for named in ("model.relatoin", "received 0", "received 'many'"):
        assert named in str(raised.value)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"model.relation": "cosine"}, "model.embed_dim: is impossible when model.relation is 'cosine'"),
        ({"model.scales": 3}, "model.embed_dim: when names model.scales, which isn't searched"),
        ({"training.momentum": 0.9}, "model.embed_dim: when names training.momentum, which is neither"),
        ({"model.embed_dim": 8}, "which is neither a choice nor boolean"),
        ({"model.spatial_pooling": "max", "model.relation": "gaussian"}, "model.embed_dim: is impossible, because no"),
    ],
)
def test_an_impossible_condition_is_refused(tmp_path: Path, when: dict[str, Any], message: str) -> None:
    parameters = {
        "model.relation": RELATION,
        "model.spatial_pooling": {
            "kind": "choice",
            "values": ["avg", "max"],
            "when": {"model.relation": ["dot_product", "embedded_gaussian"]},
        },
        "training.momentum": {"kind": "float", "min": 0, "max": 0.9},
        "model.embed_dim": {**WIDTH, "when": when},
    }
    with pytest.raises(UserError, match=message):
        read(tmp_path, {"algorithm": "grid", "parameters": parameters})


def test_conditions_in_a_circle_are_refused(tmp_path: Path) -> None:
    parameters = {
        "model.relation": {**RELATION, "when": {"model.spatial_attention": True}},
        "model.spatial_attention": {"kind": "boolean", "when": {"model.relation": "gaussian"}},
    }
    with pytest.raises(UserError, match="model.relation: its conditions depend on itself"):
        read(tmp_path, {"algorithm": "grid", "parameters": parameters})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"parameters": {}}, "parameters: .*at least 1"),
        ({"parametres": {}}, "parameters: is missing"),
        ([1], "must hold `parameters:`"),
        ({"parameters": {"model.relation": {"kind": "list"}}}, "model.relation: kind must be choice"),
        ({"parameters": {"model.relation": {"kind": "choice", "values": []}}}, "model.relation.values: .*at least 1"),
        ({"parameters": {"model.relation": {"kind": "choice", "values": ["a", "a"]}}}, "values must differ"),
        ({"parameters": {"training.momentum": {"kind": "float", "min": 1, "max": 0}}}, "max must be greater than min"),
        (
            {"parameters": {"training.momentum": {"kind": "float", "min": 0, "max": 1, "sampling": "log"}}},
            "min must be greater than 0 with sampling: log",
        ),
        ({"parameters": {"model.relation": RELATION}}, "random needs a budget; set trials or hours"),
        ({"parameters": {"model.relation": RELATION}, "objective": "speed"}, "objective: must be a column of metrics"),
        ({"parameters": {"model.relation": RELATION}, "trials": 0}, "trials: .*received 0"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize("values", [[{1: "a", "b": "c"}, 2], [True, 1], [[True], [1]], [{"a": 1}, {"a": 2}]])
def test_values_that_differ_are_taken_whatever_their_types(values: list[Any]) -> None:
    assert Choice(kind="choice", values=values).values == values


@pytest.mark.parametrize("values", [[1, 1.0], [True, True], [{"a": 1, 2: 3}, {2: 3, "a": 1}], [[1], [1]]])
def test_values_that_are_equal_are_refused(values: list[Any]) -> None:
    with pytest.raises(ValueError, match="values must differ"):
        Choice(kind="choice", values=values)


def test_an_unknown_space_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean paper\\?"):
        load_search("papper")


def test_values_of_any_type_come_back_from_keras_tuner_as_they_were(demo: Experiment) -> None:
    search = fit_to_experiment(
        grid(
            model__mid={"kind": "taps", "count": 1},
            model__embed_dim={"kind": "choice", "values": [None, 8]},
            model__spatial_attention={"kind": "boolean"},
            training__schedule={"kind": "choice", "values": [{"kind": "cosine"}, {"kind": "constant"}]},
        ),
        demo,
        "space.yaml",
    )
    first = {parameter.name: parameter.values[0] for parameter in make_hyperparameters(search).space}
    assert decode(search, first) == {
        "model.mid": ["stage2_relu2"],
        "model.embed_dim": None,
        "model.spatial_attention": True,
        "training.schedule": {"kind": "cosine"},
    }


def test_values_whose_conditions_are_not_met_are_left_out() -> None:
    search = grid(model__embed_dim={**WIDTH, "when": {"model.relation": "dot_product"}}, model__relation=RELATION)
    assert search.active({"model.relation": "gaussian", "model.embed_dim": 8}) == {"model.relation": "gaussian"}
    both = {"model.relation": "dot_product", "model.embed_dim": 8}
    assert search.active(both) == both


def test_a_grid_with_conditions_counts_only_what_is_met() -> None:
    search = grid(
        model__relation=RELATION,
        model__embed_dim={**WIDTH, "when": {"model.relation": ["dot_product", "embedded_gaussian"]}},
        model__spatial_pooling={"kind": "choice", "values": ["avg", "max"]},
    )
    widths = 4  # 8, 16, 32, 64
    assert planned_trials(search, 1) == (1 + 2 * widths) * 2


def test_hyperband_with_nine_epochs_is_that_of_its_paper() -> None:
    search = grid(model__relation=RELATION).model_copy(update={"algorithm": "hyperband"})
    # Brackets of 9, 3 and 1 trials of 1, 3 and 9 epochs; of 5 (3 / 2 · 3) and 2 of 3 and 9; and of 3 of 9.
    assert planned_trials(search, 9) == (9 + 3 + 1) + (5 + 2) + 3
    assert planned_epochs(search, 9) == (9 * 1 + 3 * 3 + 1 * 9) + (5 * 3 + 2 * 9) + 3 * 9


def _rate(**more: Any) -> dict[str, Any]:
    return {"training.learning_rate": {"kind": "float", "min": 0.01, "max": 0.1, **more}}


FLAGS = {f"a{index}": {"kind": "boolean"} for index in range(30)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"parameters": _rate(), "trials": 10**10}, "trials: .* 100000; received 10000000000"),
        ({"parameters": _rate(), "hours": 1e300}, "hours: .* 100000"),
        ({"parameters": _rate(), "trials": 2, "repeats": 10**10}, "repeats: .* 1000"),
        ({"parameters": _rate(step=1e-300), "algorithm": "grid"}, "step makes 9e[+]298 values; at most 10,000"),
        ({"parameters": _rate(step=5e-324), "algorithm": "grid"}, "step makes inf values"),
        ({"parameters": _rate(step=1 + 1e-10, sampling="log"), "algorithm": "grid"}, "step makes 2.3e[+]10 values"),
        (
            {"parameters": {"training.epochs": {"kind": "int", "min": 1, "max": 100_000}}, "algorithm": "grid"},
            "training.epochs: a grid of all numbers from 1 to 100000 is too fine",
        ),
        (
            {"parameters": {"training.epochs": {"kind": "int", "min": 1, "max": 10**30}}, "trials": 2},
            "training.epochs.max: .*received 1000",
        ),
        (
            {"parameters": {"model.mid": {"kind": "choice", "values": list(range(1001))}}, "trials": 2},
            "model.mid.values: .*at most 1000 items",
        ),
        (
            {
                "parameters": {**FLAGS, **{f"b{key}": {"kind": "boolean", "when": {key: True}} for key in FLAGS}},
                "trials": 2,
            },
            "1,073,741,824 combinations of values; at most 10,000",
        ),
        ({"parameters": {f"a{index}": {"kind": "boolean"} for index in range(101)}, "trials": 2}, "at most 100 items"),
    ],
)
def test_a_space_without_an_end_is_refused_before_it_is_gone_through(
    tmp_path: Path, content: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, content)
    assert len(str(caught.value)) < 1000


def test_a_grid_that_nothing_ends_is_refused(tmp_path: Path, demo: Experiment) -> None:
    keys = ("learning_rate", "momentum", "label_smoothing", "weight_decay", "ema", "head_learning_rate_factor")
    parameters = {f"training.{key}": {"kind": "float", "min": 0.01, "max": 0.1} for key in keys}
    with pytest.raises(UserError, match="a grid of 1,000,000 trials; at most 100,000 are run"):
        fit_to_experiment(read(tmp_path, {"parameters": parameters, "algorithm": "grid"}), demo, "space")
    search = fit_to_experiment(read(tmp_path, {"parameters": parameters, "algorithm": "grid", "trials": 4}), demo, "x")
    assert planned_trials(search, 10) == 4


def test_a_space_is_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="isn't a regular file"):
        load_search(tmp_path / "space.yaml")
