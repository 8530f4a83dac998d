"""The experiment's files, overrides and error texts."""

from pathlib import Path

import pytest

from clan_tf.config import Experiment, load_experiment, shipped_configs
from clan_tf.errors import UserError


def test_every_shipped_config_is_valid_and_named_like_its_file() -> None:
    names = shipped_configs()
    assert {"demo", "vgg16_gap", "vgg16_2scale", "vgg16_3scale", "resnet50", "resnet101"} <= set(names)
    for name in names:
        assert load_experiment(name).name == name


@pytest.mark.parametrize("name", ["vgg16_2scale", "vgg16_3scale", "resnet50", "resnet101"])
def test_the_papers_configs_hold_the_papers_recipe(name: str) -> None:
    experiment = load_experiment(name)
    training = experiment.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (120, 36, 0.01)
    assert (training.momentum, training.weight_decay, experiment.data.image_size) == (0.9, 1e-4, 448)
    expected = (0.9, 2) if "resnet" in name else (0.1, 30)
    assert (training.schedule.factor, training.schedule.every) == expected


def test_every_mistake_is_named_at_once_with_the_nearest_valid_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("model: {relatoin: gaussian, mid_refinement: clac}\ntraining: {epochs: 0}\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_experiment(path, ["data.sorce=cub", "training", "training.seed=[", "data.source=foldres"])
    text = str(caught.value)
    assert "7 mistakes" in text
    for expected in (
        "--set 'training': must be KEY=VALUE",
        "the value isn't YAML",
        "Did you mean folders?",
        "model.relatoin",
        "Did you mean model.relation?",
        "Did you mean clca?",
        "training.epochs",
        "Did you mean data.source?",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("data.augmentation.mixpu", "data.augmentation.mixup"),
        ("data.mixup", "data.augmentation.mixup"),
        ("epochs", "training.epochs"),
        ("training.image_sise", "data.image_size"),
        ("trainnig", "training"),
    ],
)
def test_an_unknown_key_is_refused_with_the_whole_path_of_the_nearest(key: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"{key}: no such key. Did you mean {meant}\?"):
        load_experiment("demo", [f"{key}=1"])


@pytest.mark.parametrize("override", ["training.epochs", "=3", "training.epochs=[1"])
def test_a_malformed_override_is_refused(override: str) -> None:
    with pytest.raises(UserError, match="--set"):
        load_experiment("demo", [override])


def test_an_unknown_config_is_refused_with_the_nearest_shipped_one() -> None:
    with pytest.raises(UserError, match="Did you mean resnet50"):
        load_experiment("resnet5")


def test_later_overrides_win_and_none_means_no_weights() -> None:
    experiment = load_experiment("demo", ["training.epochs=2", "training.epochs=3", "model.weights=none"])
    assert experiment.training.epochs == 3
    assert experiment.model.weights is None


def test_scales_that_contradict_mid_are_refused() -> None:
    with pytest.raises(UserError, match="2 layers make 3 scales"):
        load_experiment("demo", ["model.mid=[a, b]", "model.scales=2"])


def test_the_resolved_config_reads_back_as_the_same_experiment(tmp_path: Path) -> None:
    experiment = load_experiment("demo", ["data.root=photos", "model.loss_weights={top: 0.5}"])
    path = tmp_path / "config.yaml"
    path.write_text(experiment.to_yaml(), encoding="utf-8")
    assert load_experiment(path) == experiment
    assert isinstance(experiment, Experiment)


@pytest.mark.parametrize("text", ["a: [", "- 1", "model: 3"])
def test_a_file_that_holds_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="x.yaml"):
        load_experiment(path)
