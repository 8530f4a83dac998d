"""Backbones of strangers: plain layers only, no larger than their file."""

import copy
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from clan_tf.errors import UserError
from clan_tf.models.backbones import build_backbone
from helpers.strangers import LAMBDA, LOOKUP


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "tiny.keras"
    build_backbone("tiny", 32).save(path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (LAMBDA, "it holds a Lambda of 'keras.layers'"),
        (LOOKUP, "it holds a StringLookup of 'keras.layers'"),
        ({"registered_name": "clan_tf>CLAN"}, "it holds a Conv2D of 'keras.layers'"),
        ({"module": "os", "class_name": "system"}, "it holds a system of 'os'"),
        (
            {"class_name": "Activation", "config": {"activation": {"class_name": "function", "config": "get_file"}}},
            "it holds a function of None",
        ),
    ],
)
def test_a_backbone_of_others_has_plain_layers_only(
    backbone: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_backbone("tiny", 32, weights=str(_with_layer(backbone, tmp_path, change)))


def test_a_backbone_of_others_is_no_larger_than_its_file(backbone: Path, tmp_path: Path) -> None:
    def widen(config: dict[str, Any]) -> None:
        for layer in config["config"]["layers"][1:]:
            layer["config"]["filters"] = 100_000
            layer.pop("build_config")

    path = tmp_path / "wide.keras"
    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, keras.layers.Conv2D(8, 3)(keras.layers.Conv2D(8, 3)(inputs))).save(path)
    with pytest.raises(UserError, match=r"its layers have 90,002,900,000 weights"):
        build_backbone("tiny", 32, weights=str(_rewritten(path, tmp_path, widen)))


def test_a_backbone_file_with_nan_is_refused(backbone: Path, tmp_path: Path) -> None:
    model = keras.models.load_model(backbone, compile=False)
    model.get_layer("stage1_conv1").kernel.assign(np.full(model.get_layer("stage1_conv1").kernel.shape, np.nan))
    model.save(tmp_path / "nan.keras")
    with pytest.raises(UserError, match=r"nan\.keras holds NaN or infinity"):
        build_backbone("tiny", 32, weights=str(tmp_path / "nan.keras"))


def _with_layer(path: Path, folder: Path, change: dict[str, Any]) -> Path:
    return _rewritten(path, folder, lambda config: config["config"]["layers"][1].update(copy.deepcopy(change)))


def _rewritten(path: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a `.keras` file whose config was changed."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(content["config.json"])
    change(config)
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(folder / "changed.keras", "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return folder / "changed.keras"
