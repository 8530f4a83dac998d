"""What a model was built with: attributes by the arguments' names, and the config of saved files."""

import inspect
import json
from typing import Any

import pytest

from clan_tf.models import CLAN, BranchClassifier, Plain

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
