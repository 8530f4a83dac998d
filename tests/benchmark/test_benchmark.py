"""The benchmark says what it measured; no speed is asserted."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clan_tf.benchmark import benchmark_data
from clan_tf.benchmark.data import CACHED, DECODING, PIPELINE, why_no_torch
from clan_tf.cli.main import app
from clan_tf.config import AugmentationConfig, Experiment, load_experiment
from clan_tf.data import read_source
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.sources import Box
from clan_tf.errors import UserError
from helpers import TINY_DEMO


def overrides(colour_folders: Path) -> list[str]:
    return [
        "data={source: folders, image_size: 24, resize_size: null}",
        f"data.root={colour_folders}",
        "training.batch_size=4",
    ]


@pytest.fixture
def experiment(colour_folders: Path) -> Experiment:
    return load_experiment(TINY_DEMO, overrides(colour_folders))


def test_the_pipeline_is_measured_beside_decoding_alone(colour_folders: Path) -> None:
    words = [word for override in overrides(colour_folders) for word in ("--set", override)]
    arguments = ["benchmark", "data", *words, "--photos", "8", "--seconds", "0.1", "--rounds", "2"]
    answer = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert answer["photos"] == 8
    assert {key: answer["median_size"][key] for key in ("height", "width")} == {"height": 32, "width": 40}
    rates = answer["photos_per_second"]
    assert {DECODING, PIPELINE, CACHED} <= set(rates)
    for rate in rates.values():
        assert 0 < rate["lowest"] <= rate["median"] <= rate["highest"]
    assert rates[DECODING]["of_decoding"] == 1
    assert any("op determinism is on, as in training" in note for note in answer["notes"])


def test_the_pytorch_peer_is_left_out_where_it_would_do_less(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.benchmark.data.find_spec", lambda _: True)
    assert why_no_torch(experiment) is None
    data = experiment.data.model_copy(update={"augmentation": AugmentationConfig(mixup=0.5)})
    assert "wouldn't be augmented" in str(why_no_torch(experiment.model_copy(update={"data": data})))
    monkeypatch.setattr("clan_tf.benchmark.data.find_spec", lambda _: None)
    assert "isn't installed" in str(why_no_torch(experiment))


def test_a_batch_larger_than_the_photos_read_is_refused(experiment: Experiment) -> None:
    with pytest.raises(UserError, match="--photos"):
        benchmark_data(experiment, photos=3)


@pytest.mark.parametrize("mode", ["stretch", "keep_aspect"])
def test_the_pytorch_peer_gives_the_same_kind_of_photos(experiment: Experiment, mode: Any) -> None:
    """With a crop of the full size its photos are ours, but for rounding, in the JPEG decoder above all."""
    pytest.importorskip("torch")
    from clan_tf.benchmark.torch_pipeline import RandomCrops
    from clan_tf.data.checked_photos import used_part
    from clan_tf.data.pipeline import View, evaluation_view

    view = View(24, 24, mode)
    photos = read_source(experiment.data).photos("train")[:3]
    # Of a square all is seen, and so the random crop is the centre.
    checked = check_photos([replace(photo, box=Box(4, 0, -4, 0)) for photo in photos])
    contents = [Path(photo.name).read_bytes() for photo in checked.photos]
    dataset = RandomCrops(contents, checked.windows, checked.labels, view, flip=False)
    assert b"clan_tf.data" not in pickle.dumps(dataset), "its workers would import TensorFlow"
    for index in range(len(dataset)):
        photo, label = dataset[index]
        ours = evaluation_view(used_part(checked, index), view).numpy()
        assert label == checked.labels[index]
        assert abs(photo.numpy().astype(int) - ours).max() <= 5
