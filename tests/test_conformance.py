"""What every layer and every model promises: one row each, one test per promise over all rows."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from clan_tf.layers import (
    AttentionSampler,
    BilinearPooling,
    ClassAverage,
    CompactBilinearPooling,
    CrossLayerContextAttention,
    CrossLayerSpatialAttention,
    FilterAttention,
    GroupBilinear,
    LowRankBilinear,
    MeanAttention,
    NonLocalBlock,
    OneSqueezeMultiExcitation,
    PartAttention,
    PowerNormalization,
    SquareCrop,
    SquareMap,
    SquareProposal,
    TrilinearAttention,
    WeightedAverage,
)
from clan_tf.models import BCNN, CBP, CLAN, DBT, DFB, LRBP, MACNN, MAMC, RACNN, TASN, Ensemble, Plain
from helpers.models import BATCH, CLASSES, IMAGE_SIZE, MID_SHAPE, TOP_SHAPE, Arrays, Row, build, clan

if keras.backend.backend() != "tensorflow":
    pytest.skip("needs TensorFlow", allow_module_level=True)

import tensorflow as tf

from clan_tf.export import to_tflite, write_saved_model

# The table


def around(layer: Callable[[], keras.layers.Layer], *names: str) -> Callable[[], keras.Model]:
    """A model with the layer alone inside."""

    def build() -> keras.Model:
        inputs = {name: keras.Input({"mid": MID_SHAPE, "top": TOP_SHAPE}[name], name=name) for name in names}
        return keras.Model(inputs, {"answer": layer()(*inputs.values())})

    return build


def bilinear_layers() -> keras.Model:
    """The layers of the bilinear methods side by side."""
    mid = keras.Input(MID_SHAPE, name="mid")
    layers = {
        "bilinear": BilinearPooling(),
        "compact": CompactBilinearPooling(8),
        "normalized": PowerNormalization(),
        "low_rank": LowRankBilinear(5, 4),
    }
    return keras.Model({"mid": mid}, {name: layer(mid) for name, layer in layers.items()})


PLACES = ("positions", "square", "places")
"""Outputs of `part_layers` that are float32 in every precision."""


def part_layers() -> keras.Model:
    """The layers of a filter bank one after the other, and those of attentions over channels."""
    mid = keras.Input(MID_SHAPE, name="mid")
    maxima = keras.layers.GlobalMaxPooling2D()(mid)
    averages = ClassAverage(3)(maxima)
    outputs = {"average": WeightedAverage([1, 0.5])([averages, ClassAverage(3)(-maxima)])}
    first, second = OneSqueezeMultiExcitation(2, reduction=2)(mid)
    outputs |= {"attention": FilterAttention(3)(mid, averages), "first": first, "mean": MeanAttention()(second)}
    outputs["products"] = GroupBilinear(2)(mid)
    outputs["structure"], outputs["detail"] = TrilinearAttention()(mid)
    outputs["sampled"], outputs["positions"] = AttentionSampler(3)(mid, outputs["structure"])
    square = SquareProposal(8)(mid)
    outputs["square"] = SquareProposal(8)(first, square)
    outputs["cut"], outputs["places"] = SquareCrop(3)(mid, outputs["square"])
    outputs["shown"] = SquareMap(5)(square)
    outputs["part_maps"], outputs["parts"] = PartAttention(2)(mid)
    return keras.Model({"mid": mid}, outputs)


def ensemble() -> keras.Model:
    """Of a model that averages probabilities, and a calibrated one that averages logits."""
    members = [
        CLAN("tiny", CLASSES, IMAGE_SIZE, combination="probabilities"),
        CLAN("tiny", CLASSES, IMAGE_SIZE, temperatures={"combined": 1.5}),
    ]
    return Ensemble(members)


ROWS = [
    Row("clca_gaussian", around(lambda: CrossLayerContextAttention("gaussian"), "mid", "top")),
    Row("clca_embedded", around(lambda: CrossLayerContextAttention("embedded_gaussian"), "mid", "top")),
    Row("clca_dot", around(lambda: CrossLayerContextAttention("dot_product"), "mid", "top")),
    Row("non_local", around(lambda: NonLocalBlock("embedded_gaussian"), "mid")),
    Row("clsa", around(CrossLayerSpatialAttention, "mid", "top")),
    Row("bilinear_layers", bilinear_layers, gradient_tolerance=1e-4),
    Row("clan", clan(), takes_photos=True),
    Row(
        "clan_as_printed",
        clan(spatial_batch_norm=False, mid_pooling="avg", head_batch_norm=False),
        takes_photos=True,
    ),
    Row("clan_lite", lambda: CLAN("efficientnet_lite0", CLASSES, IMAGE_SIZE, scales=3), takes_photos=True),
    Row("clan_non_local_3", clan(scales=3, mid_refinement="non_local", spatial_attention=False), takes_photos=True),
    Row("plain_batch_norm", lambda: Plain("tiny", CLASSES, IMAGE_SIZE, head_batch_norm=True), takes_photos=True),
    Row("plain", lambda: Plain("tiny", CLASSES, IMAGE_SIZE), takes_photos=True),
    Row(
        "bcnn",
        lambda: BCNN("tiny", CLASSES, IMAGE_SIZE, base="stage3_relu2", reduced_dim=7),
        takes_photos=True,
        gradient_tolerance=1e-4,
    ),
    Row("cbp", lambda: CBP("tiny", CLASSES, IMAGE_SIZE, sketch_dim=64), takes_photos=True, gradient_tolerance=1e-4),
    Row(
        "lrbp",
        lambda: LRBP("tiny", CLASSES, IMAGE_SIZE, projection_dim=9, rank=4),
        takes_photos=True,
        gradient_tolerance=1e-4,
    ),
    Row("part_layers", part_layers),
    Row("dfb", lambda: DFB("tiny", CLASSES, IMAGE_SIZE, filters_per_class=3), takes_photos=True),
    Row("dbt", lambda: DBT("tiny", CLASSES, IMAGE_SIZE, groups=4), takes_photos=True),
    Row("tasn", lambda: TASN("tiny", CLASSES, IMAGE_SIZE), takes_photos=True),
    Row("ra_cnn", lambda: RACNN("tiny", CLASSES, IMAGE_SIZE, crops=1, proposal_units=16), takes_photos=True),
    Row("ma_cnn", lambda: MACNN("tiny", CLASSES, IMAGE_SIZE), takes_photos=True),
    Row("mamc", lambda: MAMC("tiny", CLASSES, IMAGE_SIZE, feature_dim=16), takes_photos=True),
    Row("ensemble", ensemble, takes_photos=True),
]
rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
VARIANTS = ("clan_as_printed", "clan_non_local_3", "plain_batch_norm")
"""Rows all of whose layers are in other rows, too."""


def rows_without(*names: str) -> pytest.MarkDecorator:
    """All rows; those named only in `pytest -m soak`."""
    marked = [pytest.param(row, marks=pytest.mark.soak) if row.name in names else row for row in ROWS]
    return pytest.mark.parametrize("row", marked, ids=[row.name for row in ROWS])


# Helpers


@cache
def built(row: Row) -> tuple[keras.Model, Arrays]:
    """A row's model and 4 inputs for it, built once; not to be changed."""
    return build(row, batch=4)


def first(inputs: Arrays, batch: int) -> Arrays:
    return {name: x[:batch] for name, x in inputs.items()}


def as_argument(inputs: dict[str, Any]) -> Any:
    """Models with one input that is photos take it bare."""
    return inputs["photos"] if "photos" in inputs else inputs


def call(model: Callable[..., Any], inputs: dict[str, Any], **arguments: Any) -> Arrays:
    return {name: keras.ops.convert_to_numpy(x) for name, x in model(as_argument(inputs), **arguments).items()}


def assert_same(actual: Arrays, expected: Arrays, tolerance: float = 1e-5) -> None:
    assert set(actual) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(actual[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


def settings(layer: keras.layers.Layer) -> dict[str, Any]:
    """Its config without the name, which Keras numbers."""
    return {name: value for name, value in layer.get_config().items() if name != "name"}


def gradients(model: keras.Model, inputs: dict[str, Any]) -> list[tf.Tensor]:
    """Of a sum over photos, by trainable weight; zeros where a weight has no part in it."""
    weights = model.trainable_variables
    with tf.GradientTape() as tape:
        outputs = model(as_argument(inputs), training=False)
        loss = tf.add_n([tf.reduce_sum(tf.cast(outputs[name], "float32") ** 2) for name in sorted(outputs)])
    return tape.gradient(loss, [weight.value for weight in weights], unconnected_gradients="zero")


# Saving


LOADER = """
import sys
from pathlib import Path
import keras
import numpy as np
import clan_tf.layers
import clan_tf.models

for path in Path(sys.argv[1]).glob("*.keras"):
    with np.load(path.with_suffix(".inputs.npz")) as file:
        inputs = dict(file)
    model = keras.saving.load_model(path)
    outputs = model(inputs["photos"] if "photos" in inputs else inputs)
    np.savez(path.with_suffix(".answers.npz"), **{name: keras.ops.convert_to_numpy(x) for name, x in outputs.items()})
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every row's model as `.keras`, and what a fresh process answers with it."""
    folder = tmp_path_factory.mktemp("saved")
    for row in ROWS:
        model, inputs = built(row)
        model.save(folder / f"{row.name}.keras")
        np.savez(folder / f"{row.name}.inputs.npz", **inputs)
        np.savez(folder / f"{row.name}.expected.npz", **call(model, inputs))
    # From another folder, so that it's the installed package that answers.
    subprocess.run([sys.executable, "-c", LOADER, str(folder)], check=True, cwd=folder, env=dict(os.environ))
    return folder


@rows
def test_a_saved_model_answers_the_same_in_a_fresh_process(row: Row, saved: Path) -> None:
    with np.load(saved / f"{row.name}.answers.npz") as actual, np.load(saved / f"{row.name}.expected.npz") as expected:
        assert_same(dict(actual), dict(expected))


@rows
def test_a_loaded_model_has_the_same_config(row: Row, saved: Path) -> None:
    model, _ = built(row)
    loaded = keras.saving.load_model(saved / f"{row.name}.keras")
    assert type(loaded) is type(model)
    for layer, again in zip(model.layers, loaded.layers, strict=True):
        if type(layer).__module__.startswith("clan_tf."):
            assert settings(again) == settings(layer)
    if row.takes_photos:
        assert settings(loaded) == settings(model)


# Exporting


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Row], tuple[Path, bytes]]:
    """Gives a row's SavedModel and its TFLite file, which is converted from it."""
    root = tmp_path_factory.mktemp("exported")

    @cache
    def export(row: Row) -> tuple[Path, bytes]:
        def write_and_keep(model: keras.Model, folder: Path) -> None:
            write_saved_model(model, folder)
            shutil.copytree(folder, root / row.name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("clan_tf.export.tflite.write_saved_model", write_and_keep)
            content = to_tflite(built(row)[0])
        return root / row.name, content

    return export


@rows_without(*VARIANTS)
def test_a_saved_model_folder_answers_the_same_for_any_batch_size(
    row: Row, exported: Callable[[Row], tuple[Path, bytes]]
) -> None:
    model, inputs = built(row)
    folder, _ = exported(row)
    loaded = tf.saved_model.load(str(folder))
    for batch in (BATCH, 1):
        assert_same(call(loaded.serve, first(inputs, batch)), call(model, first(inputs, batch)))


@rows_without(*VARIANTS)
def test_a_tflite_file_answers_the_same(row: Row, exported: Callable[[Row], tuple[Path, bytes]]) -> None:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    model, inputs = built(row)
    inputs = first(inputs, 1)
    _, content = exported(row)
    interpreter = interpreters.Interpreter(model_content=content)
    runner = interpreter.get_signature_runner("serving_default")
    names = list(runner.get_input_details())
    # TensorFlow names the signature's inputs itself where a model takes a bare tensor.
    arguments = inputs if len(names) > 1 else dict(zip(names, inputs.values(), strict=True))
    assert_same(runner(**arguments), call(model, inputs), tolerance=1e-4)


# Precision


@pytest.fixture(scope="module")
def float32_answers() -> dict[str, Arrays]:
    return {row.name: call(*built(row)) for row in ROWS}


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def mixed_precision(request: pytest.FixtureRequest) -> Iterator[str]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@rows
def test_mixed_precision_is_finite_on_float32_weights_and_near_float32(
    row: Row, mixed_precision: str, float32_answers: dict[str, Arrays]
) -> None:
    model, inputs = build(row, batch=4)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    # bfloat16 holds 8 bits; some of them are lost on the way.
    tolerance = 0.1 if mixed_precision == "mixed_bfloat16" else 0.02
    for name, values in call(model, inputs).items():
        half = mixed_precision.removeprefix("mixed_")
        assert values.dtype == ("float32" if row.takes_photos or name in PLACES else half), name
        expected = float32_answers[row.name][name]
        np.testing.assert_allclose(values.astype("float32"), expected, rtol=tolerance, atol=tolerance, err_msg=name)
    for weight, gradient in zip(model.trainable_variables, gradients(model, inputs), strict=True):
        assert np.isfinite(gradient.numpy()).all(), weight.path


# Replicas


@rows_without(*VARIANTS, "clan_lite")
def test_two_replicas_have_the_gradients_of_one(row: Row) -> None:
    model, inputs = built(row)
    expected = gradients(model, inputs)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        copy, _ = build(row)
    halves = {
        name: strategy.experimental_distribute_values_from_function(
            lambda context, x=x: tf.constant(np.split(x, 2)[context.replica_id_in_sync_group])
        )
        for name, x in inputs.items()
    }

    @tf.function
    def step(inputs):
        return gradients(copy, inputs)

    by_replica = strategy.run(step, args=(halves,))
    for weight, one, two in zip(model.trainable_variables, expected, by_replica, strict=True):
        values = strategy.experimental_local_results(two)
        assert len(values) == 2
        # Relative to the largest of a weight's gradients: each is a sum, in another order.
        scale = max(1.0, float(np.abs(one).max()))
        np.testing.assert_allclose(
            sum(x.numpy() for x in values) / scale, one / scale, atol=row.gradient_tolerance, err_msg=weight.path
        )


# Inputs


@rows
def test_any_batch_size_gives_each_photo_its_own_answer(row: Row) -> None:
    model, inputs = built(row)
    together = call(model, inputs)
    for index in range(3):
        alone = call(model, {name: x[index : index + 1] for name, x in inputs.items()})
        assert_same(alone, {name: x[index : index + 1] for name, x in together.items()})


@pytest.mark.parametrize("row", [row for row in ROWS if row.takes_photos], ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_whole_numbers_are_photos_too(row: Row, dtype: str) -> None:
    model, inputs = built(row)
    expected = call(model, inputs)
    photos = inputs["photos"].astype(dtype)
    assert_same(call(model, {"photos": photos}), expected)
    if row.name in ("plain", "clan"):  # each is traced anew
        assert_same(model.predict(photos, verbose=0), expected)


# Training as a Keras classifier


def fit(model: CLAN, rng: np.random.Generator, **arguments: Any) -> dict[str, bool]:
    """Whether each branch's head changed in one step on one label per photo."""
    heads = {branch: model.get_layer(f"logits_{branch}") for branch in model.branches}
    before = {branch: head.get_weights() for branch, head in heads.items()}
    photos = rng.integers(0, 256, (4, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("uint8")
    model.compile(keras.optimizers.SGD(0.1), **arguments)
    model.fit(photos, np.arange(4), batch_size=4, epochs=1, verbose=0)
    return {
        branch: any(not np.array_equal(old, new) for old, new in zip(before[branch], head.get_weights(), strict=True))
        for branch, head in heads.items()
    }


def test_clan_fits_every_branch_on_one_label_per_photo(rng: np.random.Generator) -> None:
    model = CLAN("tiny", CLASSES, IMAGE_SIZE, scales=3)
    changed = fit(model, rng, metrics=["accuracy"])
    assert changed == dict.fromkeys(("mid_1", "mid_2", "top", "refined_top"), True)
    results = model.evaluate(np.zeros((2, IMAGE_SIZE, IMAGE_SIZE, 3), "uint8"), np.array([0, 1]), verbose=0)
    assert np.isfinite(results).all()


def test_a_branch_of_weight_zero_is_not_trained(rng: np.random.Generator) -> None:
    changed = fit(CLAN("tiny", CLASSES, IMAGE_SIZE, loss_weights={"mid_1": 0}), rng, run_eagerly=True)
    assert changed == {"mid_1": False, "top": True, "refined_top": True}


def test_compile_takes_weights_of_some_branches(rng: np.random.Generator) -> None:
    changed = fit(CLAN("tiny", CLASSES, IMAGE_SIZE), rng, loss_weights={"mid_1": 0}, run_eagerly=True)
    assert changed == {"mid_1": False, "top": True, "refined_top": True}


def test_a_loaded_clan_trains_on(saved: Path, rng: np.random.Generator) -> None:
    assert all(fit(keras.saving.load_model(saved / "clan.keras"), rng).values())
