"""Models in Keras' `compile` and `fit`: one loss for all branches, or a dict, and what of it a saved model keeps."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from clan_tf.models import CLAN, Plain, load_model, save_model

BRANCHES = ["mid_1", "top", "refined_top"]
LABELS = np.array([0, 1, 2, 1])
LOSS = "sparse_categorical_crossentropy"


@pytest.fixture
def photos(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (4, 32, 32, 3)).astype("uint8")


def clan() -> CLAN:
    keras.utils.set_random_seed(0)
    return CLAN("tiny", 3, 32)


@pytest.fixture(scope="module")
def built() -> CLAN:
    return clan()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"loss": {"combined": LOSS}},
            "`loss` must have branches as keys: mid_1, top, refined_top.*made of the branch",
        ),
        ({"loss": {"topp": LOSS}}, "Received: 'topp'. Did you mean top"),
        ({"loss": [LOSS, LOSS, LOSS]}, "`loss` must be one loss for all branches or a dict by branch"),
        ({"loss": {3: LOSS}}, "`loss` must have branches as keys.*Received: 3"),
        ({"loss_weights": {"topp": 1.0}}, "`loss_weights` must have branches as keys.*Did you mean top"),
        ({"loss_weights": {"combined": 1.0}}, "`loss_weights` must have branches as keys"),
        ({"loss_weights": {"top": -1.0}}, "top must be from 0"),
        ({"loss_weights": [1.0, 1.0, 1.0]}, "`loss_weights` must be a dict by branch"),
        ({"metrics": {"topp": ["accuracy"]}}, "`metrics` must have outputs as keys:.*Did you mean top"),
        ({"weighted_metrics": {"combine": ["accuracy"]}}, "`weighted_metrics` must have outputs.*mean combined"),
        ({"metrics": [["accuracy"]] * 4}, "`metrics` must be one list of metrics for all outputs or a dict"),
        ({"weighted_metrics": [["accuracy"]] * 4}, "`weighted_metrics` must be one list of metrics"),
    ],
    ids=str,
)
def test_what_a_model_cannot_be_compiled_with_is_named(built: CLAN, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built.compile("sgd", **given)


@pytest.mark.parametrize("name", ["metrics", "weighted_metrics"])
@pytest.mark.parametrize("metrics", ["accuracy", ["accuracy"], keras.metrics.SparseCategoricalAccuracy("accuracy")])
def test_metrics_are_of_every_output(name: str, metrics: Any, photos: np.ndarray) -> None:
    model = clan()
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True, **{name: metrics})  # tracing takes ten times as long
    weights = np.array([1.0, 0.0, 0.0, 0.0])
    results = model.evaluate(photos, LABELS, sample_weight=weights, verbose=0, return_dict=True)
    answers = model.predict(photos, verbose=0)
    assert {key for key in results if key.endswith("_accuracy")} == {f"{each}_accuracy" for each in model.output_names}
    for output in model.output_names:
        right = answers[output].argmax(axis=1) == LABELS
        expected = float(right.mean() if name == "metrics" else right[0])
        assert results[f"{output}_accuracy"] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")
def test_a_branch_without_a_loss_is_not_trained(photos: np.ndarray) -> None:
    model = clan()
    model.compile(keras.optimizers.SGD(0.1), loss={"top": LOSS}, metrics={"combined": ["accuracy"]})
    heads = {branch: model.get_layer(f"logits_{branch}") for branch in BRANCHES}
    before = {branch: head.get_weights() for branch, head in heads.items()}
    model.fit(photos, LABELS, verbose=0)
    assert [branch for branch in BRANCHES if (before[branch][0] != heads[branch].get_weights()[0]).any()] == ["top"]


def test_a_loaded_model_goes_on_as_the_saved_one(photos: np.ndarray, tmp_path: Path) -> None:
    model = clan()
    optimizer = keras.optimizers.Adam(0.01)
    model.compile(optimizer, loss_weights={"top": 0.25}, metrics=["accuracy"], weighted_metrics=["accuracy"])
    model.run_eagerly = True  # tracing takes most of the time
    model.fit(photos, LABELS, shuffle=False, verbose=0)
    save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = True
    assert loaded.optimizer.iterations == 1
    first, second = (each.fit(photos, LABELS, shuffle=False, verbose=0).history for each in (model, loaded))
    assert first == second
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_load_model_reads_a_compiled_model_but_not_what_it_was_compiled_with(tmp_path: Path) -> None:
    model = clan()
    model.compile("adam")
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert not loaded.compiled and not hasattr(loaded, "optimizer")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_a_model_that_was_never_compiled_says_nothing_of_it(tmp_path: Path) -> None:
    save_model(clan(), tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert json.loads(archive.read("config.json"))["compile_config"] == {}


@pytest.mark.parametrize("kind", ["lambda", "function"])
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`:UserWarning")
def test_a_loss_that_cannot_be_read_is_left_out_with_a_warning(kind: str, photos: np.ndarray, tmp_path: Path) -> None:
    def unregistered(y: Any, predicted: Any) -> Any:
        return keras.ops.mean(predicted)

    model = Plain("tiny", 3, 32)
    model.compile("sgd", loss=unregistered if kind == "function" else lambda y, predicted: unregistered(y, predicted))
    save_model(model, tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="loaded, but not compiled: call `compile` before `fit`") as warned:
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(warned) == 1 and len(str(warned[0].message)) < 400
    np.testing.assert_array_equal(loaded.predict(photos, verbose=0)["top"], model.predict(photos, verbose=0)["top"])
    loaded.compile("sgd")
    loaded.fit(photos, LABELS, verbose=0)
