"""What a model was built with: attributes by the arguments' names, and the config of saved files."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clan_tf.models import (
    BCNN,
    CBP,
    CLAN,
    DBT,
    DFB,
    LRBP,
    MACNN,
    MAMC,
    RACNN,
    TASN,
    BranchClassifier,
    Ensemble,
    Plain,
    load_model,
    save_model,
)

NOT_STORED = {"weights", "kwargs"}


@pytest.mark.parametrize("kind", [CLAN, Plain])
def test_every_argument_is_an_attribute_by_its_own_name(kind: type[BranchClassifier]) -> None:
    given: dict[str, Any] = {
        "backbone": "tiny",
        "classes": 2,
        "image_size": 32,
        "mid": ["stage2_relu2", "stage3_relu2"],
        "scales": 3,
        "mid_refinement": "non_local",
        "relation": "gaussian",
        "embed_dim": 5,
        "spatial_attention": False,
        "spatial_pooling": "max",
        "spatial_activation": "linear",
        "spatial_kernel_size": 5,
        "spatial_batch_norm": False,
        "mid_pooling": "avg",
        "head_batch_norm": True,
        "combination": "logits",
        "dropout": 0.25,
        "loss_weights": {"top": 0.5},
        "class_names": ["a", "b"],
        "resize_size": 40,
        "resize_mode": "keep_aspect",
    }
    names = inspect.signature(kind).parameters.keys() - NOT_STORED
    assert names <= given.keys()
    model = kind(**{name: given[name] for name in names})
    full = {"loss_weights": {"top": 0.5} if kind is Plain else {"mid_1": 1, "mid_2": 1, "top": 0.5}}
    assert {name: getattr(model, name) for name in names} == {name: (given | full)[name] for name in names}


def test_arguments_that_stand_for_a_default_are_stored_as_what_they_stand_for() -> None:
    model = CLAN("tiny", 2, image_size=32)
    assert (model.mid, model.scales) == (["stage3_relu2"], 2)
    assert model.resize_size == 32
    assert model.class_names == ["0", "1"]
    assert model.loss_weights == {"mid_1": 1, "top": 1, "refined_top": 1}


def test_the_config_is_plain_and_builds_the_same_model() -> None:
    model = CLAN("tiny", 2, image_size=32, loss_weights={"top": 0.5}, class_names=("a", "b"))
    config = model.get_config()
    assert json.loads(json.dumps(config)) == config
    assert {type(config[name]) for name in ("mid", "class_names", "loss_weights")} == {list, dict}
    assert CLAN.from_config(config).get_config() == config


def test_a_config_that_leaves_defaults_open_is_read() -> None:
    """Files were once saved with `None` where the default was meant."""
    config = CLAN("tiny", 2, image_size=32).get_config()
    again = CLAN.from_config(config | {"loss_weights": {}, "class_names": None, "resize_size": None})
    assert again.get_config() == config


def test_files_from_before_the_heads_were_normalised_are_read() -> None:
    as_before = {"head_batch_norm": False, "mid_pooling": "avg"}
    config = CLAN("tiny", 2, image_size=32, **as_before).get_config()
    assert as_before.items() <= config.items()
    older = {name: value for name, value in config.items() if name not in as_before}
    assert CLAN.from_config(older).get_config() == config


EVERY_MODEL: dict[type[BranchClassifier], dict[str, Any]] = {
    CLAN: {"embed_dim": 5, "spatial_kernel_size": 5, "scales": 3},
    Plain: {"head_batch_norm": True},
    BCNN: {"reduced_dim": 4, "feature_scale": 3.0},
    CBP: {"sketch_dim": 16, "sketch_seed": 2},
    LRBP: {"projection_dim": 4, "rank": 2, "sqrt_features": False},
    DFB: {"filters_per_class": 2, "side_weight": 0.5},
    MAMC: {"feature_dim": 8, "attentions": 3, "normalize_features": False},
    DBT: {"groups": 4, "group_loss_weight": 0.5},
    TASN: {"attention_scale": 3.0, "sampled_size": 32},
    RACNN: {"proposal_units": 16, "crop_size": 32, "crops": 1, "mask_slope": 3.0},
    MACNN: {"parts": 3, "attention_every": 2, "normalize_maps": False},
}
"""Some of each model's own arguments."""
every_model = pytest.mark.parametrize("kind", EVERY_MODEL, ids=lambda kind: kind.__name__)


@every_model
def test_an_argument_that_a_model_does_not_have_is_refused(kind: type[BranchClassifier]) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__} has no argument 'dropuot'. Did you mean dropout"):
        kind("tiny", 2, 64, dropuot=0.5)


def test_an_argument_of_another_model_is_refused_and_the_own_ones_are_listed() -> None:
    with pytest.raises(TypeError, match="Plain has no argument 'relation'. Its arguments: backbone, .*trainable"):
        Plain("tiny", 2, 32, relation="gaussian")
    with pytest.raises(TypeError, match="CLAN has no argument 'spatial_atention'. Did you mean spatial_attention"):
        CLAN("tiny", 2, 32, spatial_atention=False)
    members = [Plain("tiny", 2, 32), Plain("tiny", 2, 32)]
    with pytest.raises(TypeError, match="Ensemble has no argument 'temperature'. Did you mean temperatures"):
        Ensemble(members, temperature={})


@pytest.mark.parametrize("kind", [Plain, BCNN])
def test_keras_own_arguments_are_taken(kind: type[BranchClassifier]) -> None:
    model = kind("tiny", 2, 32, name="own", trainable=False)
    assert model.name == "own" and model.trainable_weights == []


@every_model
def test_numpy_numbers_are_numbers(kind: type[BranchClassifier], tmp_path: Path) -> None:
    """A loop over `np.arange`, or the number of classes in a table, gives such."""
    own = EVERY_MODEL[kind]
    branches = kind("tiny", 2, 64, **own).branches
    model = kind(
        "tiny",
        np.int64(2),
        image_size=np.int32(64),
        dropout=np.float32(0.25),
        loss_weights={branch: np.float32(0.5) for branch in branches},
        temperatures={"combined": np.float64(2.0)},
        **{name: np.asarray(value)[()] for name, value in own.items()},
    )
    config = model.get_config()
    assert config.items() >= {"classes": 2, "image_size": 64, "dropout": 0.25}.items()
    assert {name: getattr(model, name) for name in own} == own
    assert set(config["loss_weights"].values()) == {0.5} and config["temperatures"]["combined"] == 2.0
    assert not any(isinstance(value, np.generic) for value in config.values())
    save_model(model, tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").get_config() == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"class_names": ["a", "a"]}, "`class_names` must be different names. Received: 'a' twice"),
        ({"class_names": "ab"}, "`class_names` must be a list of names.*class_names=\\['ab'\\]"),
        ({"class_names": {"a"}}, "`class_names` must be a list of names"),
        ({"class_names": 2}, "`class_names` must be a list of names"),
        ({"mid": "stage3_relu2"}, "`mid` must be a list of layers.*Write mid=\\['stage3_relu2'\\]"),
        ({"mid": 3}, "`mid` must be a list of layers"),
        ({"name": "my model"}, "`name` must be letters, digits, dots, dashes and underscores. Received: name='my mod"),
        ({"name": ""}, "`name` must be letters, digits"),
        ({"name": "größe"}, "`name` must be letters, digits"),
        ({"dropout": True}, "`dropout` must be at least 0"),
        ({"dropout": np.float32("nan")}, "`dropout` must be at least 0"),
        ({"classes": np.float64(2.0)}, "`classes` must be a positive number"),
        ({"classes": np.True_}, "`classes` must be a positive number"),
        ({"spatial_attention": np.int64(1)}, "`spatial_attention` must be true or false"),
        ({"loss_weights": [1.0]}, "`loss_weights` must be a dict by branch"),
        ({"loss_weights": {"top": True}}, "top must be from 0"),
        ({"loss_weights": {"top": "0.5"}}, "top must be from 0"),
        ({"loss_weights": {"top": None}}, "top must be from 0"),
        ({"temperatures": {"top": True}}, "`temperatures` must give outputs"),
        ({"combination": "mean"}, "`combination` must be one of"),
        ({"mid_refinement": "all"}, "`mid_refinement` must be one of gap, non_local, clca"),
    ],
    ids=str,
)
def test_what_load_model_would_refuse_is_refused_at_once(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CLAN(**{"backbone": "tiny", "classes": 2, "image_size": 32, **given})


def test_names_that_load_model_reads_are_taken(tmp_path: Path) -> None:
    model = CLAN("tiny", 2, 32, name="My-model_2.1", class_names=np.array(["größe", "a b"]), mid=("stage3_relu2",))
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert (loaded.name, loaded.class_names) == ("My-model_2.1", ["größe", "a b"])
