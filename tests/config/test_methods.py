"""Which keys of `model` belong to which architecture, and what happens to the others."""

from pathlib import Path
from typing import Any, get_args

import pytest

from clan_tf.config import Experiment, ModelConfig, load_experiment, with_values
from clan_tf.config.methods import METHODS, OWN_KEYS, Architecture, ignored_keys
from clan_tf.errors import UserError
from clan_tf.models.build import MODELS, build_model
from clan_tf.models.classifier import argument_names
from clan_tf.report.report import _describe_network

SHARED = {"architecture", "backbone", "weights", "init", "dropout", "loss_weights"}


def test_every_key_is_everybodys_or_somebodys() -> None:
    own = {key for keys in OWN_KEYS.values() for key in keys}
    assert own | SHARED == set(ModelConfig.model_fields) and not own & SHARED
    assert set(OWN_KEYS) == set(MODELS) == set(get_args(Architecture))


@pytest.mark.parametrize("architecture", MODELS)
def test_every_own_key_is_an_argument_of_the_model(architecture: str) -> None:
    model = Experiment(model=ModelConfig(architecture=architecture)).model.model_dump()
    names = argument_names(MODELS[architecture])
    for key in OWN_KEYS[architecture]:
        assert set(model[key] if isinstance(model[key], dict) else [key]) <= set(names)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        (
            "model.relation=gaussian",
            r"model: architecture is plain, which has no use for relation='gaussian' \(of clan\). Leave it out, or set",
        ),
        ("model.bcnn.reduced_dim=64", r"which has no use for bcnn.reduced_dim=64 \(of bcnn\)"),
        ("model.scales=3", r"which has no use for scales=3 \(of clan\)"),
    ],
)
def test_a_key_that_the_architecture_ignores_is_refused(override: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        load_experiment("demo", ["model.architecture=plain", override])


def test_keys_of_a_method_are_refused_for_clan() -> None:
    with pytest.raises(UserError, match=r"architecture is clan, which has no use for cbp.sketch_dim=64 \(of cbp\)"):
        load_experiment("demo", ["model.cbp.sketch_dim=64"])


@pytest.mark.parametrize("config", ["vgg16_3scale", "resnet50", "vgg16_bcnn"])
@pytest.mark.parametrize("architecture", MODELS)
def test_every_config_takes_every_architecture(config: str, architecture: str) -> None:
    experiment = load_experiment(config, [f"model.architecture={architecture}", "data.image_size=64"])
    assert experiment.model.architecture == architecture
    usual = ModelConfig()
    for key in ignored_keys(architecture):
        assert getattr(experiment.model, key) == getattr(usual, key)


def test_values_of_another_architecture_are_dropped_with_it() -> None:
    experiment = load_experiment("vgg16_3scale")
    assert with_values(experiment, {"model.architecture": "plain"}).model.scales is None
    with pytest.raises(UserError, match="no use for scales=3"):
        with_values(experiment, {"model.architecture": "plain", "model.scales": 3})


def test_a_file_that_names_both_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: {architecture: bcnn, mid_refinement: gap}", encoding="utf-8")
    with pytest.raises(UserError, match=r"is bcnn, which has no use for mid_refinement='gap' \(of clan\)"):
        load_experiment(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("architecture", "settings", "expected"),
    [
        ("bcnn", {"bcnn": {"reduced_dim": 7, "base": "stage2_relu2"}}, {"reduced_dim": 7, "base": "stage2_relu2"}),
        (
            "cbp",
            {"cbp": {"sketch_dim": 32, "sketch_seed": 4, "feature_scale": 2}},
            {"sketch_dim": 32, "sketch_seed": 4},
        ),
        ("lrbp", {"lrbp": {"rank": 4, "sqrt_features": False}}, {"rank": 4, "sqrt_features": False}),
        ("dfb", {"dfb": {"side_weight": 0.2, "filter_init": "random"}}, {"side_weight": 0.2, "filter_init": "random"}),
        ("mamc", {"mamc": {"attentions": 3, "pair_loss_weight": 0.1}}, {"attentions": 3, "pair_loss_weight": 0.1}),
        ("dbt", {"dbt": {"groups": 4, "group_loss_weight": 0}}, {"groups": 4, "group_loss_weight": 0}),
        ("tasn", {"tasn": {"sampled_size": 16, "base": "stage2_relu2"}}, {"sampled_size": 16, "base": "stage2_relu2"}),
        ("ra_cnn", {"ra_cnn": {"crops": 1, "proposal_units": 8}}, {"crops": 1, "proposal_units": 8, "crop_size": 32}),
        ("ma_cnn", {"ma_cnn": {"parts": 3, "base": "stage2_relu2"}}, {"parts": 3, "base": "stage2_relu2"}),
        ("plain", {"head_batch_norm": True}, {"head_batch_norm": True}),
    ],
)
def test_the_sections_are_the_models_arguments(
    architecture: str, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    values = {"model": {"architecture": architecture, "backbone": "tiny", **settings}, "data": {"image_size": 32}}
    model = build_model(Experiment.model_validate(values), 3)
    assert model.name == architecture and type(model) is MODELS[architecture]
    assert {name: getattr(model, name) for name in expected} == expected


def test_a_layer_that_does_not_exist_is_named_with_its_key() -> None:
    experiment = load_experiment("demo", ["model.architecture=bcnn", "model.bcnn.base=conv9"])
    with pytest.raises(UserError, match="model.bcnn.base: .*has no layer 'conv9'"):
        build_model(experiment, 3, load_weights=False)


def test_a_preset_takes_every_architecture_and_its_own_layers(tmp_path: Path) -> None:
    mine = "model: {architecture: bcnn, backbone: vgg16, bcnn: {base: conv4_3, reduced_dim: 64}}"
    (tmp_path / "mine.yaml").write_text(mine, encoding="utf-8")
    model = load_experiment(tmp_path / "mine.yaml", preset="fast").model
    assert (model.backbone, model.bcnn.base, model.bcnn.reduced_dim) == ("efficientnet_lite0", None, 64)
    notes: list[str] = []
    for config in ("demo", "vgg16_bcnn"):
        assert load_experiment(config, ["model.architecture=plain"], "fast", notes.append).model.architecture == "plain"
    assert notes == []


def test_keys_that_are_left_out_are_noted() -> None:
    notes: list[str] = []
    load_experiment("vgg16_3scale", ["model.architecture=bcnn"], note=notes.append)
    assert len(notes) == 1 and "model.scales, model.mid_pooling, model.head_batch_norm" in notes[0]


def test_a_base_that_is_no_map_is_refused() -> None:
    overrides = ["model.architecture=lrbp", "model.backbone=efficientnet_v2_b0", "model.lrbp.base=block4a_se_squeeze"]
    with pytest.raises(UserError, match="model.lrbp.base: 'block4a_se_squeeze' of efficientnet_v2_b0 isn't a map"):
        build_model(load_experiment("demo", overrides), 3, load_weights=False)


@pytest.mark.parametrize("architecture", METHODS)
def test_defaults_of_a_section_are_the_models(architecture: str) -> None:
    model = MODELS[architecture]("tiny", 3, 32)
    values = getattr(ModelConfig(), architecture).model_dump()
    for name, value in values.items():
        # A model has a number where the config leaves it to the photos.
        assert getattr(model, name) == value or value is None, name


def test_photos_of_several_classes_have_no_pairs() -> None:
    mixed = ["model.architecture=mamc", "data.augmentation.cutmix=0.5"]
    with pytest.raises(UserError, match=r"augmentation\.cutmix mixes photos .*or model\.mamc\.pair_loss_weight=0"):
        load_experiment("demo", mixed)
    assert load_experiment("demo", [*mixed, "model.mamc.pair_loss_weight=0"]).sampling == "shuffle"


def test_photos_come_in_pairs_where_a_loss_compares_them() -> None:
    assert load_experiment("demo").sampling == "shuffle"
    assert load_experiment("demo", ["model.architecture=mamc"]).sampling == "pairs"
    assert load_experiment("demo", ["model.architecture=mamc", "data.sampling=shuffle"]).sampling == "shuffle"


@pytest.mark.parametrize("architecture", METHODS)
def test_a_report_describes_it(architecture: str) -> None:
    description = _describe_network(load_experiment("demo", [f"model.architecture={architecture}"]))
    assert description.startswith("efficientnet_lite0 with ") and "CLAN" not in description
