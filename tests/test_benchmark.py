"""The benchmark says what it measured; no speed is asserted."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.benchmark import CACHED, DECODING, PIPELINE, benchmark_data
from clan_tf.cli.main import app
from clan_tf.config import Experiment, load_experiment
from clan_tf.data import read_source
from clan_tf.data.photos import check_photos
from clan_tf.errors import UserError


def overrides(colour_folders: Path) -> list[str]:
    return ["data={source: folders, image_size: 24}", f"data.root={colour_folders}", "training.batch_size=4"]


@pytest.fixture
def experiment(colour_folders: Path) -> Experiment:
    return load_experiment("demo", overrides(colour_folders))


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


def test_a_batch_larger_than_the_photos_read_is_refused(experiment: Experiment) -> None:
    with pytest.raises(UserError, match="--photos"):
        benchmark_data(experiment, photos=3)


def test_the_pytorch_peer_gives_the_same_kind_of_photos(experiment: Experiment) -> None:
    """With a crop of the full size its photos are ours, but for rounding, in the JPEG decoder above all."""
    pytest.importorskip("torch")
    from clan_tf.data.photos import used_part
    from clan_tf.data.pipeline import evaluation_view
    from clan_tf.data.reading import View
    from clan_tf.torch_pipeline import RandomCrops

    checked = check_photos(read_source(experiment.data).photos("train")[:3])
    contents = [Path(photo.name).read_bytes() for photo in checked.photos]
    for index, (photo, label) in enumerate(RandomCrops(contents, checked.labels, 24, 24, flip=False)):
        ours = evaluation_view(used_part(checked, index), View(24, 24)).numpy()
        assert label == checked.labels[index]
        assert abs(photo.numpy().astype(int) - ours).max() <= 5
        if index == 2:
            break
