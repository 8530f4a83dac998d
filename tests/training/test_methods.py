"""The other methods as a user has them: trained, evaluated, explained, exported and resumed."""

from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import load_experiment
from clan_tf.export import ExportOptions, export
from clan_tf.inference import predict
from clan_tf.models import LRBP, load_model
from clan_tf.run import RunDirectory
from clan_tf.training import train
from helpers import TINY_DEMO
from helpers.photos import write_photo
from helpers.pictures import without_pictures

OWN = {
    "cbp": ["model.cbp.sketch_dim=64", "model.cbp.reduced_dim=16"],
    "lrbp": ["model.lrbp.projection_dim=12", "model.lrbp.rank=2"],
    "dfb": ["model.dfb.filters_per_class=2"],
    "mamc": ["model.mamc.feature_dim=16"],
    "dbt": ["model.dbt.groups=4", "model.dbt.group_loss_weight=0.1"],
    "tasn": [],
    "ra_cnn": ["model.ra_cnn.proposal_units=8", "model.ra_cnn.attention_every=2", "model.ra_cnn.attention_rate=1"],
    "ma_cnn": ["model.ma_cnn.attention_every=2"],
}
MAPS = {
    "cbp": {"gradcam.top.top"},
    "lrbp": {"gradcam.top.top"},
    "dfb": {"gradcam.global.top", "gradcam.part.mid_1", "gradcam.side.mid_1", "attention.part"},
    "dbt": {"gradcam.top.top"},
    "tasn": {"gradcam.structure.top", "attention.structure", "attention.detail"},
    "ra_cnn": {"gradcam.fused.top", "gradcam.fused.scale_2", "gradcam.fused.scale_3", "attention.scale_2"},
    "ma_cnn": {"gradcam.joint.top", "attention.part_1", "attention.part_4"},
    "mamc": {"gradcam.top.top", "attention.1", "attention.2"},
}
RECIPE = [
    "data={source: generated, image_size: 32, resize_size: 36, generated_photos: {train: 24, val: 8, test: 8}}",
    "training={epochs: 2, batch_size: 8}",
]


class _Stop(Exception):
    """Stands for a process that is killed."""


@pytest.fixture(scope="module", params=OWN)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp(request.param) / "run"
    experiment = load_experiment(TINY_DEMO, [f"model.architecture={request.param}", *RECIPE, *OWN[request.param]])
    with without_pictures():
        return train(experiment, str(folder)).run


@pytest.mark.parametrize(
    "run", [*(pytest.param(name, marks=pytest.mark.soak) for name in ("dfb", "mamc", "tasn")), "ra_cnn"], indirect=True
)  # what is their own: start, order, random numbers, phases
def test_a_killed_training_goes_on_to_the_same_weights(run: RunDirectory, tmp_path: Path) -> None:
    def stop(epoch: int, logs: object) -> None:
        raise _Stop

    killer = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    with pytest.raises(_Stop):
        train(run.experiment(), str(tmp_path / "again"), callbacks=[killer])
    again = train(run.experiment(), str(tmp_path / "again"), resume=True).run
    assert again.metrics.read_bytes() == run.metrics.read_bytes()
    for expected, values in zip(load_model(run.last).get_weights(), load_model(again.last).get_weights(), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_training_starts_from_the_train_photos(tmp_path: Path) -> None:
    own = ["model.architecture=lrbp", "training.learning_rate=auto"]
    kernels: list[np.ndarray] = []

    def keep(logs: object) -> None:
        kernels.append(np.array(keeper.model.get_layer("projection").kernel)[0, 0])

    def stop(epoch: int, logs: object) -> None:
        raise _Stop

    keeper = keras.callbacks.LambdaCallback(on_train_begin=keep, on_epoch_end=stop)
    experiment = load_experiment(TINY_DEMO, [*RECIPE, *OWN["lrbp"], *own])
    run = RunDirectory(tmp_path / "run")
    for resume in (False, True):
        with pytest.raises(_Stop):
            train(experiment if not resume else run.experiment(), str(run.path), callbacks=[keeper], resume=resume)
        run.remove_checkpoints()
    # A random matrix would be longer: it keeps the length of the vectors.
    np.testing.assert_allclose(kernels[0].T @ kernels[0], np.eye(kernels[0].shape[1]), atol=1e-3)
    # A run without a checkpoint starts as it had.
    np.testing.assert_allclose(kernels[1], kernels[0], atol=1e-5)


@pytest.mark.parametrize(
    "run", ["dfb", pytest.param("tasn", marks=pytest.mark.soak), "ra_cnn"], indirect=True
)  # a TFLite file of each: conformance
def test_it_is_evaluated_and_exported(run: RunDirectory, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(run.path), "--json"])
    assert done.exit_code == 0, done.output
    assert not export(str(run.path), ExportOptions(format="onnx"), output=str(tmp_path / "onnx")).report.failures
    write_photo(tmp_path / "photo.png", (200, 60, 60), size=(40, 40))
    own, other = (predict(model, tmp_path / "photo.png") for model in (run.path, tmp_path / "onnx"))
    assert own[0]["predictions"][0]["label"] == other[0]["predictions"][0]["label"]


def test_it_is_explained(run: RunDirectory, tmp_path: Path) -> None:
    write_photo(tmp_path / "photo.png", (200, 60, 60), size=(40, 40))
    output = tmp_path / "explained"
    done = CliRunner().invoke(app, ["explain", str(run.path), str(tmp_path / "photo.png"), "--output", str(output)])
    assert done.exit_code == 0, done.output
    with np.load(output / "photo.npz") as maps:
        assert MAPS[run.experiment().model.architecture] <= set(maps)


def test_two_devices_start_as_one(rng: np.random.Generator) -> None:
    photos = rng.integers(0, 256, (6, 32, 32, 3)).astype("uint8")
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    kernels = []
    for scope in (nullcontext(), strategy.scope()):
        keras.utils.set_random_seed(0)
        with scope:
            model = LRBP("tiny", 3, 32, projection_dim=5)
            model.prepare([(photos, None, np.ones(6, "float32"))])
        kernel = model.get_layer("projection").kernel.value
        kernels += [value.numpy() for value in strategy.experimental_local_results(kernel)]
    assert len(kernels) == 3
    for kernel in kernels[1:]:
        np.testing.assert_allclose(kernel, kernels[0], atol=1e-6)


def test_principal_components_span_the_largest_eigenvectors(rng: np.random.Generator) -> None:
    model = LRBP("tiny", 3, 32, projection_dim=5)
    photos = rng.integers(0, 256, (6, 32, 32, 3)).astype("uint8")
    padding = np.array([1, 1, 1, 1, 1, 0], "float32")
    model.prepare([(photos[:3], None, padding[:3]), (photos[3:], None, padding[3:])])
    maps = np.asarray(model.with_outputs(["normalized"])(photos[:5])["normalized"], "float64")
    values, vectors = np.linalg.eigh(np.einsum("bhwc,bhwd->cd", maps, maps))
    kernel = np.asarray(model.get_layer("projection").kernel)[0, 0]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(5), atol=1e-4)
    np.testing.assert_allclose(kernel @ kernel.T, vectors[:, -5:] @ vectors[:, -5:].T, atol=1e-3)
