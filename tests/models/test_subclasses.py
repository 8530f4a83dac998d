"""Models that derive from CLAN: their own arguments and those that they hand on to it are saved together."""

from pathlib import Path
from typing import Any

import keras
import pytest

from clan_tf.models import CLAN, BranchClassifier, load_model, save_model
from clan_tf.models.classifier import argument_names


@keras.saving.register_keras_serializable(package="tests")
class Noted(CLAN):
    """An argument of its own, and CLAN's by their names."""

    def __init__(self, backbone: str, classes: int, note: str = "", **kwargs: Any) -> None:
        super().__init__(backbone, classes, **kwargs)
        self.note = note


@keras.saving.register_keras_serializable(package="tests")
class Renamed(CLAN):
    """Whatever CLAN takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


@keras.saving.register_keras_serializable(package="tests")
class Small(CLAN):
    """Two arguments and no others."""

    def __init__(self, classes: int, combination: str = "logits", name: str | None = None) -> None:
        super().__init__("tiny", classes, 32, combination=combination, name=name)


def test_arguments_that_are_handed_on_are_a_models_own() -> None:
    handed_on = argument_names(CLAN)
    assert handed_on[:3] == ["backbone", "classes", "image_size"] and "kwargs" not in handed_on
    assert argument_names(Noted) == ["backbone", "classes", "note", *handed_on[2:]]
    assert argument_names(Renamed) == handed_on
    assert argument_names(Small) == ["classes", "combination", "name"]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Noted, {"backbone": "tiny", "classes": 2, "note": "first", "image_size": 32, "relation": "gaussian"}),
        (Renamed, {"backbone": "tiny", "classes": 2, "image_size": 32, "class_names": ["a", "b"], "resize_size": 40}),
        (Small, {"classes": 2, "combination": "probabilities"}),
    ],
)
def test_a_model_that_derives_from_clan_is_loaded_as_it_was_built(
    kind: type[BranchClassifier], given: dict[str, Any], tmp_path: Path
) -> None:
    model = kind(**given)
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert type(loaded) is kind
    assert {name: getattr(loaded, name) for name in given} == given
    assert loaded.get_config() == model.get_config()
