"""Ensembles: the mean of their members' answers, in one file that is looked through like any other."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from clan_tf.errors import UserError
from clan_tf.models import (
    BCNN,
    CBP,
    CLAN,
    DBT,
    DFB,
    LRBP,
    MACNN,
    MAMC,
    RACNN,
    TASN,
    BranchClassifier,
    Ensemble,
    Plain,
    complexity,
    load_model,
    save_model,
)
from clan_tf.models.archive import require_own_model
from clan_tf.models.calibration import calibrated
from clan_tf.models.transfer import copy_fitting
from clan_tf.rejection import Rejection
from helpers.models import BATCH, CLASSES, IMAGE_SIZE, Row, build

NAMES = ["a", "b", "c", "grün", "e"]
TAXONOMY = [["species", "genus"], *([name, "x"] for name in NAMES[:3]), *([name, "y"] for name in NAMES[3:])]
KINDS: list[Callable[..., BranchClassifier]] = [CLAN, Plain, BCNN, CBP, LRBP, DFB, DBT, TASN, RACNN, MACNN, MAMC]
SMALL: dict[Any, dict[str, Any]] = {
    BCNN: {"base": "stage3_relu2", "reduced_dim": 7},
    CBP: {"sketch_dim": 64},
    LRBP: {"projection_dim": 9, "rank": 4},
    DFB: {"filters_per_class": 3},
    DBT: {"groups": 4},
    RACNN: {"crops": 1, "proposal_units": 16},
    MAMC: {"feature_dim": 16},
}


def member(kind: Callable[..., BranchClassifier] = Plain, seed: int = 0, **settings: Any) -> BranchClassifier:
    """A model with random weights everywhere, other ones for each seed."""
    given = {"class_names": NAMES, **SMALL.get(kind, {}), **settings}
    model, _ = build(Row("member", lambda: kind("tiny", CLASSES, IMAGE_SIZE, **given), takes_photos=True))
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "kernel":
            weight.assign(np.asarray(weight) + rng.normal(0, 0.05, weight.shape))
    return model


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (BATCH, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("float32")


@pytest.fixture(scope="module")
def members() -> list[BranchClassifier]:
    """A calibrated one that averages logits, one that averages probabilities, and one with a single branch."""
    return [
        member(CLAN, 1, temperatures={"mid_1": 0.7, "top": 1.3, "combined": 1.6}, taxonomy=TAXONOMY),
        member(CLAN, 2, combination="probabilities", taxonomy=TAXONOMY),
        member(Plain, 3, temperatures={"top": 0.5}, taxonomy=TAXONOMY),
    ]


@pytest.fixture(scope="module")
def ensemble(members: list[BranchClassifier]) -> Ensemble:
    return Ensemble(members, name="ensemble")


@pytest.fixture(scope="module")
def good(ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "ensemble.keras"
    save_model(ensemble, path)
    return path


def answers(model: keras.Model, photos: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in model(photos).items()}


# What it computes


def test_it_answers_the_mean_of_what_its_members_answer(
    ensemble: Ensemble, members: list[BranchClassifier], photos: np.ndarray
) -> None:
    own = [answers(model, photos)["combined"] for model in members]
    assert np.abs(own[0] - own[1]).max() > 0.01
    found = answers(ensemble, photos)
    assert list(found) == ["member_1", "member_2", "member_3", "combined"]
    for name, expected in zip(found, [*own, np.mean(own, axis=0)], strict=True):
        np.testing.assert_allclose(found[name], expected, atol=1e-6)
    np.testing.assert_allclose(ensemble.combine(found, ("member_1", "member_3")), (own[0] + own[2]) / 2, atol=1e-6)


@pytest.mark.parametrize("kinds", [KINDS[-3:], pytest.param(KINDS, marks=pytest.mark.soak)])
def test_models_of_all_methods_are_members_and_are_read_again(
    kinds: Sequence[Any], tmp_path: Path, photos: np.ndarray
) -> None:
    members = [member(kind, seed) for seed, kind in enumerate(kinds)]
    expected = np.mean([answers(model, photos)["combined"] for model in members], axis=0)
    save_model(Ensemble(members), tmp_path / "x.keras")
    loaded = load_model(tmp_path / "x.keras")
    np.testing.assert_allclose(answers(loaded, photos)["combined"], expected, atol=1e-5)
    weights = sum(np.prod(weight.shape) for weight in loaded.weights)
    assert 4 * weights < (tmp_path / "x.keras").stat().st_size  # all that is allocated for its answers is in the file


def test_features_of_it_are_its_members_logits(ensemble: Ensemble, photos: np.ndarray) -> None:
    logits = answers(ensemble.logits_model(), photos)
    assert list(logits) == ["member_1", "member_2", "member_3"]
    some = answers(ensemble.with_outputs(["logits_member_2", "combined"]), photos)
    np.testing.assert_array_equal(some["logits_member_2"], logits["member_2"])
    np.testing.assert_array_equal(some["combined"], answers(ensemble, photos)["combined"])
    with pytest.raises(ValueError, match="`names` must be features of the model: logits_member_1"):
        ensemble.with_outputs(["backbone_top"])


def test_it_has_what_its_members_have_alike_and_never_withholds_an_answer(members: list[BranchClassifier]) -> None:
    members[1].rejection = Rejection(0.1, (0.9,))
    ensemble = Ensemble(members)
    assert ensemble.class_names == NAMES and ensemble.taxonomy == members[0].taxonomy
    assert (ensemble.image_size, ensemble.resize_size, ensemble.resize_mode) == (IMAGE_SIZE, IMAGE_SIZE, "stretch")
    assert ensemble.rejection is None and not ensemble.is_calibrated
    assert ensemble.sharpness == 2  # of the member whose logits are divided by 0.5
    assert "thresholds" not in json.dumps(ensemble.get_config())


def test_its_costs_are_those_of_its_members(ensemble: Ensemble, members: list[BranchClassifier]) -> None:
    cost, own = complexity(ensemble), [complexity(model) for model in members]
    for part, count in cost.parameters.items():
        assert count == sum(each.parameters[part] for each in own)
    assert sum(each.macs for each in cost.relations.values()) == sum(
        product.macs for each in own for product in each.relations.values()
    )
    assert cost.all_macs == sum(each.all_macs for each in own)


def test_it_can_be_calibrated_itself(ensemble: Ensemble, photos: np.ndarray) -> None:
    log = np.log(answers(ensemble, photos)["combined"]) / 2
    expected = np.exp(log) / np.exp(log).sum(axis=1, keepdims=True)
    again = calibrated(ensemble, {"combined": 2.0})
    np.testing.assert_allclose(answers(again, photos)["combined"], expected, atol=1e-6)


# Its file


def test_its_file_is_read_in_safe_mode_and_answers_the_same(ensemble: Ensemble, good: Path, photos: np.ndarray) -> None:
    loaded = load_model(good)
    assert isinstance(loaded, Ensemble) and loaded.get_config() == ensemble.get_config()
    for name, values in answers(ensemble, photos).items():
        np.testing.assert_allclose(answers(loaded, photos)[name], values, atol=1e-6)
    by_keras = keras.saving.load_model(good, compile=False)
    np.testing.assert_array_equal(answers(by_keras, photos)["combined"], answers(loaded, photos)["combined"])


def test_it_keeps_no_weights_that_its_answer_does_not_need(tmp_path: Path) -> None:
    """Of TASN one of three heads, and neither the loss's head nor anything twice."""
    model = member(TASN)
    ensemble = Ensemble([model, member(TASN, 1)])
    unused = ["logits_attention", "logits_detail"]
    spared = sum(model.get_layer(name).count_params() for name in unused) + model.auxiliary.count_params()
    assert ensemble.count_params() == 2 * (model.count_params() - spared)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"class_names": ["a", "b", "c", "d", "e"]}, "class_names=.*of member 1 and .*of member 2"),
        ({"resize_size": 40}, "resize_size=32 of member 1 and 40 of member 2"),
        ({"resize_mode": "keep_aspect"}, "resize_mode='stretch' of member 1 and 'keep_aspect' of member 2"),
        ({"taxonomy": TAXONOMY}, "taxonomy=None of member 1 and"),
    ],
)
def test_members_that_are_not_alike_are_refused(others: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"`members` must have the same class_names, image_size.*{message}"):
        Ensemble([member(), member(**others)])


def test_other_members_are_refused(ensemble: Ensemble, members: list[BranchClassifier]) -> None:
    with pytest.raises(ValueError, match="must be from 2 to 20 models. Received: 1"):
        Ensemble(members[:1])
    with pytest.raises(ValueError, match="must be from 2 to 20 models. Received: 21"):
        Ensemble([members[0]] * 21)
    with pytest.raises(ValueError, match="must be different models"):
        Ensemble([members[0]] * 2)
    with pytest.raises(ValueError, match="must be models that aren't ensembles. Received: a Ensemble"):
        Ensemble([members[0], ensemble])
    with pytest.raises(ValueError, match="must be models that aren't ensembles. Received: a Functional"):
        Ensemble([members[0], members[0].logits_model()])


def test_a_model_does_not_start_from_an_ensemble(ensemble: Ensemble) -> None:
    with pytest.raises(UserError, match="it is an ensemble. Start from one of its members"):
        copy_fitting(ensemble, member())


# Files of strangers


@pytest.fixture
def doctor(good: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a copy of the good file with a changed config."""

    def write(change: Callable[[dict[str, Any]], Any]) -> Path:
        path = tmp_path / "x.keras"
        with zipfile.ZipFile(good) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as copy:
            for name in archive.namelist():
                content = archive.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    change(config["config"])
                    content = json.dumps(config).encode()
                copy.writestr(name, content)
        return path

    return write


def _nested(own: dict[str, Any]) -> None:
    own["members"][1] = {"registered_name": "clan_tf>Ensemble", "settings": json.loads(json.dumps(own))}


def _set(**settings: Any) -> Callable[[dict[str, Any]], None]:
    return lambda own: own["members"][1]["settings"].update(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _nested,
            "members of an ensemble must be models of clan-tf that aren't ensembles; received 'clan_tf>Ensemble'",
        ),
        (lambda own: own["members"][0].update(registered_name="Lambda"), "received 'Lambda'"),
        (lambda own: own["members"][0].update(registered_name=["clan_tf>CLAN"]), r"received \['clan_tf>CLAN'\]"),
        (lambda own: own["members"][0].update(module="os"), "members must have a registered_name and settings"),
        (lambda own: own["members"].__setitem__(0, 5), "members must have a registered_name and settings; received 5"),
        (lambda own: own["members"][0].update(settings=[]), "must hold the model's settings"),
        (lambda own: own.update(members=own["members"] * 7), "must be a list of 2 to 20 models; received 21"),
        (lambda own: own.update(members=own["members"][:1]), "must be a list of 2 to 20 models; received 1"),
        (lambda own: own.update(members={"a": 1}), "must be a list of 2 to 20 models"),
        (lambda own: own.pop("members"), "must be a list of 2 to 20 models"),
        (lambda own: own.update(backbone="tiny"), r"settings that Ensemble doesn't: \['backbone'\]"),
        (lambda own: own.update(class_names=["a"] * 5), "names a class twice"),
        (lambda own: own.update(class_names=None), "weights|class_names|taxonomy"),
        (_set(members=[]), r"settings that CLAN doesn't: \['members'\]"),
        (_set(class_names=NAMES), r"must leave \['class_names'\] to the ensemble"),
        (_set(taxonomy=TAXONOMY), r"must leave \['taxonomy'\] to the ensemble"),
        (_set(relation={"class_name": "Lambda"}), "relation must be a plain value"),
        (_set(backbone="x" * 10**6), "backbone has 1,000,000 characters"),
        (_set(classes=10**5), "classes is 100000, but model.weights.h5 is too small"),
        (_set(image_size=10**9), "`image_size` must be a positive number up to 4,096"),
        (_set(image_size=64, resize_size=64), "`members` must have the same"),
        (_set(embed_dim=512), "its members have more weights than model.weights.h5 has room for"),
        (_set(embed_dim=1), "its weights aren't those of the model that its config.json describes"),
        (_set(weights="imagenet"), None),
        (_set(backbone="resnet50", mid=["conv4_block6_out"]), "its members have more weights than model.weights.h5"),
        (lambda own: own.update(members=own["members"] * 6), "its members have more weights than model.weights.h5"),
    ],
)
def test_what_a_strangers_ensemble_claims_is_checked(
    doctor: Callable[..., Path], change: Callable[[dict[str, Any]], Any], message: str | None
) -> None:
    path = doctor(change)
    if message is None:
        assert isinstance(load_model(path), Ensemble)
        return
    with pytest.raises(UserError, match=message):
        load_model(path)


def test_a_nested_ensemble_is_refused_by_keras_too(doctor: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="models of clan-tf that aren't ensembles"):
        keras.saving.load_model(doctor(_nested), compile=False)


def test_nothing_is_allocated_for_members_that_the_file_has_no_room_for(
    doctor: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    initialize = keras.Variable._initialize
    monkeypatch.setattr(keras.Variable, "_initialize", lambda own, value: (made.append(1), initialize(own, value))[1])
    with pytest.raises(ValueError, match="its members have more weights"):
        require_own_model(doctor(lambda own: own.update(members=own["members"] * 6)))
    assert not made
