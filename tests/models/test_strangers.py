"""Models of strangers: nothing but the file is read, and sizes are checked before anything is allocated."""

import json
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from clan_tf.errors import CheckFailed, UserError
from clan_tf.inference import KerasPredictor, locate, predict
from clan_tf.models import BCNN, CBP, CLAN, DFB, LRBP, MAMC, BranchClassifier, load_model, save_model
from clan_tf.models.archive import require_own_model
from helpers.strangers import LAMBDA, LOOKUP

Members = dict[str, bytes]
OTHER_FILES = """
import json, sys
from pathlib import Path
import clan_tf.models
from clan_tf.errors import UserError
from clan_tf.models.files import load_model
good, *models = sys.argv[1:]
load_model(Path(good))  # whatever is imported late
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        seen.append(str((event, arguments)))
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].startswith(("/proc", "/sys")):
        seen.append(arguments[0])
sys.addaudithook(watch)
for model in models:
    try:
        load_model(Path(model))
    except UserError:
        pass
print(json.dumps(sorted(set(seen) - set(models))))
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.keras"
    save_model(CLAN("tiny", 3, 32, class_names=["a", "b", "c"]), path)
    return path


@pytest.fixture
def doctor(good: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a copy of the good model with other settings, another config or other members."""

    def write(
        config: Any = None,
        members: Members | None = None,
        name: str = "x",
        pack: int = zipfile.ZIP_STORED,
        **settings: Any,
    ) -> Path:
        with zipfile.ZipFile(good) as archive:
            content = {each: archive.read(each) for each in archive.namelist()}
        own = json.loads(content["config.json"])
        own["config"].update(settings)
        content["config.json"] = json.dumps(own if config is None else config).encode()
        content |= members or {}
        path = tmp_path / f"{name}.keras"
        with zipfile.ZipFile(path, "w", pack) as archive:
            for each, text in content.items():
                archive.writestr(each, text)
        return path

    return write


def own_config(good: Path) -> dict[str, Any]:
    with zipfile.ZipFile(good) as archive:
        return json.loads(archive.read("config.json"))


def changed_weights(good: Path, folder: Path, change: Callable[[h5py.File], None]) -> Members:
    """The weights' file after a change."""
    path = folder / "changed.h5"
    with zipfile.ZipFile(good) as archive:
        path.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(path, "r+") as file:
        change(file)
    return {"model.weights.h5": path.read_bytes()}


def datasets(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def test_weights_in_a_config_are_dropped(doctor: Callable[..., Path]) -> None:
    for weights in ("imagenet", "/etc/hostname", ["x"]):
        if isinstance(weights, str):
            assert load_model(doctor(weights=weights)).class_names == ["a", "b", "c"]
            assert keras.models.load_model(doctor(weights=weights), compile=False).class_names == ["a", "b", "c"]
        else:
            with pytest.raises(UserError, match="weights must be a plain value"):
                load_model(doctor(weights=weights))


def test_a_model_needs_no_network_and_no_other_file(good: Path, doctor: Callable[..., Path], tmp_path: Path) -> None:
    def link(file: h5py.File) -> None:
        del file["layers"]
        file["layers"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/layers")

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("layers")
    models = [
        doctor(name="path", weights=str(tmp_path / "other.h5")),
        doctor(name="imagenet", weights="imagenet", backbone="resnet50", mid=["conv4_block6_out"]),
        doctor(name="lookup", config=LOOKUP),
        doctor(name="nested", resize_mode=LOOKUP),
        doctor(name="link", members=changed_weights(good, tmp_path, link)),
    ]
    done = subprocess.run(
        [sys.executable, "-c", OTHER_FILES, str(good), *map(str, models)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_kernel_size": 100_000}, "spatial_kernel_size` must be a positive number up to 63"),
        ({"classes": 10**9}, "`classes` must be a positive number up to 100,000"),
        ({"classes": 10**5}, "classes is 100000, but model.weights.h5 is too small for that"),
        ({"classes": 90_000, "class_names": None}, "classes is 90000, but model.weights.h5 is too small"),
        ({"classes": "3"}, "`classes` must be a positive number"),
        ({"classes": True}, "`classes` must be a positive number"),
        ({"image_size": 10**9}, "`image_size` must be a positive number up to 4,096"),
        ({"image_size": -5}, "`image_size` must be"),
        ({"embed_dim": 10**9}, "`embed_dim` must be a positive number up to 8,192"),
        ({"embed_dim": 512}, "its weights aren't those of the model that its config.json describes"),
        ({"resize_size": 10**12}, "`resize_size` must be"),
        ({"resize_size": 8}, "`resize_size` must be at least image_size, 32"),
        ({"mid": ["stage3_relu2"] * 10_000}, "`mid` must name at most 16 layers"),
        ({"mid": 5}, "mid must be a list"),
        ({"mid": [[["x"]]]}, "mid must hold plain values"),
        ({"class_names": ["a"] * 3}, "names a class twice"),
        ({"class_names": [1, 2, 3]}, "`class_names` must hold texts"),
        ({"class_names": ["x" * 5000, "b", "c"]}, "`class_names` must hold texts of at most 1,000"),
        ({"loss_weights": {"top": 1e308}}, "model.loss_weights: top must be from 0 to 1,000,000"),
        ({"loss_weights": {"top": LAMBDA}}, "loss_weights must hold plain values"),
        ({"relation": LOOKUP}, "relation must be a plain value"),
        ({"backbone": "x" * 10**6}, "backbone has 1,000,000 characters"),
        ({"backbone": 5}, "unknown backbone 5"),
        ({"dropout": "x"}, "`dropout` must be at least 0 and below 1"),
        ({"spatial_attention": "no"}, "`spatial_attention` must be true or false"),
        ({"callback": "os.system"}, r"settings that CLAN doesn't: \['callback'\]"),
    ],
)
def test_settings_without_sense_are_refused(
    doctor: Callable[..., Path], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_model(doctor(**settings))


@pytest.mark.parametrize("name", ["\x1b[31m", "a b", "a/b", "", ["a"]])
def test_a_name_that_tensorflow_refuses_later_is_refused_when_a_model_is_loaded(
    good: Path, doctor: Callable[..., Path], name: object
) -> None:
    with zipfile.ZipFile(good) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["name"] = name
    with pytest.raises(UserError, match="config.json: name must be"):
        load_model(doctor(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: LAMBDA, "is a Lambda .*not a model of clan-tf"),
        (lambda own: LOOKUP, "is a StringLookup .*not a model of clan-tf"),
        (lambda own: {**own, "registered_name": None}, "not a model of clan-tf"),
        (lambda own: {**own, "registered_name": ["clan_tf>CLAN"]}, "not a model of clan-tf"),
        (lambda own: {**own, "registered_name": "clan_tf>CrossLayerSpatialAttention"}, "not a model of clan-tf"),
        (lambda own: {"registered_name": "clan_tf>CLAN"}, "must hold the model's settings"),
        (lambda own: [], "must describe a model"),
    ],
)
def test_only_our_classes_are_made(
    good: Path, doctor: Callable[..., Path], change: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_model(doctor(config=change(own_config(good))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested more than 50 deep"),
        (b'{"classes": ' + b"9" * 5000 + b"}", "a number has 5,000 characters"),
        (b'{"dropout": 1e999}', "the number 1e999 is too large"),
        (b'{"dropout": NaN}', "NaN isn't a number"),
        (b"\xff", "isn't text in UTF-8"),
        (b"", "isn't JSON"),
    ],
)
def test_a_config_that_is_no_sensible_json_is_refused(doctor: Callable[..., Path], text: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_model(doctor(members={"config.json": text}))


def test_archives_hold_what_keras_writes_and_nothing_else(
    good: Path, doctor: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("../../evil.txt", "assets/a.txt", "/etc/x"):
        with pytest.raises(UserError, match="it must hold config.json, metadata.json and model.weights.h5, each once"):
            load_model(doctor(members={name: b"x"}))
    twice = doctor(name="twice")
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("config.json", json.dumps(LAMBDA))
    with pytest.raises(UserError, match="each once"):
        load_model(twice)
    assert load_model(doctor(members={"metadata.json": b"[" * 100_000})).branches
    for text in (b"hello", b""):
        (tmp_path / "no.keras").write_bytes(text)
        with pytest.raises(UserError, match="no.keras: is damaged or truncated"):
            load_model(tmp_path / "no.keras")


def test_members_that_grow_are_refused_before_they_are_read(doctor: Callable[..., Path]) -> None:
    for name in ("config.json", "model.weights.h5"):
        path = doctor(members={name: bytes(20_000_000)}, pack=zipfile.ZIP_DEFLATED)
        with pytest.raises(UserError, match=f"{name} would grow from"):
            load_model(path)


def _soft(file: h5py.File) -> None:
    file.move("layers", "real")
    file["layers"] = h5py.SoftLink("/real")


def _external_numbers(file: h5py.File) -> None:
    name, shape = datasets(file)[0], file[datasets(file)[0]].shape
    del file[name]
    file.create_dataset(name, shape=shape, dtype="f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File) -> None:
    name, shape = datasets(file)[0], file[datasets(file)[0]].shape
    del file[name]
    layout = h5py.VirtualLayout(shape=shape, dtype="f4")
    layout[...] = h5py.VirtualSource("other.h5", "x", shape=shape)
    file.create_virtual_dataset(name, layout)


def _huge(file: h5py.File) -> None:
    name = datasets(file)[0]
    del file[name]
    file.create_dataset(name, shape=(10**5, 10**5), dtype="f4", chunks=(100, 100), compression="gzip")


def _missing(file: h5py.File) -> None:
    del file["layers"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_soft, "its weights refer to another file or place"),
        (_external_numbers, "its weights refer to another file or place"),
        (_virtual, "its weights refer to another file or place"),
        (_huge, "its weights would take 40,0"),
        (_missing, "its weights aren't those of the model"),
    ],
)
def test_weights_lie_in_the_file(
    good: Path, doctor: Callable[..., Path], tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_model(doctor(members=changed_weights(good, tmp_path, change)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_when_a_model_is_loaded(
    good: Path, tmp_path: Path, value: float
) -> None:
    model = load_model(good)
    model.get_layer("logits_mid_1").bias.assign([0, value, 0])  # of one branch alone
    save_model(model, tmp_path / "x.keras")
    with pytest.raises(CheckFailed, match=r"x\.keras: 1 of its weights hold NaN or infinity, such as logits_mid_1"):
        load_model(tmp_path / "x.keras")


def test_a_model_that_overflows_is_refused_when_it_answers(good: Path, tmp_path: Path) -> None:
    model = load_model(good)
    model.backbone_model.get_layer("stage4_bn2").beta.assign(np.full(128, 1e4, "float32"))
    head = model.get_layer("logits_top")
    head.kernel.assign(np.full(head.kernel.shape, 3e38, "float32"))
    save_model(model, tmp_path / "x.keras")
    with pytest.raises(CheckFailed, match=r"x\.keras: the model outputs NaN \(combined\)"):
        KerasPredictor.open(locate(tmp_path / "x.keras"), batch_size=1).probabilities(
            [np.full((32, 32, 3), 99, "uint8")]
        )


@pytest.mark.parametrize("pack", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_wrong_byte_in_the_weights_is_named(doctor: Callable[..., Path], pack: int) -> None:
    path = doctor(pack=pack)
    assert load_model(path).class_names == ["a", "b", "c"]
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("model.weights.h5")
    content = bytearray(path.read_bytes())
    content[info.header_offset + info.compress_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.keras: is damaged or truncated"):
        load_model(path)


def test_the_look_through_the_weights_takes_no_memory_for_them(
    good: Path, doctor: Callable[..., Path], tmp_path: Path
) -> None:
    def fill(file: h5py.File) -> None:
        file["further"] = np.ones(2**22)

    path = doctor(members=changed_weights(good, tmp_path, fill))
    tracemalloc.start()
    require_own_model(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2


def test_a_model_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.keras").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="not a regular file"):
        predict(str(tmp_path / "zero.keras"), ["x.jpg"])


@pytest.mark.parametrize(
    ("kind", "settings", "per_class"),
    [
        (BCNN, {"reduced_dim": 64}, 64**2),
        (BCNN, {}, 128**2),
        (BCNN, {"base": "stage1_relu2"}, 8**2),
        (CBP, {"sketch_dim": 300}, 300),
        (CBP, {}, 8192),
        (LRBP, {"projection_dim": 50, "rank": 4}, 200),
        (LRBP, {}, 800),
        (MAMC, {"feature_dim": 40}, 40),
    ],
)
def test_more_classes_than_the_file_has_weights_for_are_refused(
    kind: type[BranchClassifier], settings: dict[str, Any], per_class: int, tmp_path: Path
) -> None:
    path, doctored = tmp_path / "good.keras", tmp_path / "doctored.keras"
    save_model(kind("tiny", 3, 32, **settings), path)
    require_own_model(path)
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    config = json.loads(content["config.json"])
    # As many as fit are accepted, which a head of any backbone has at least; one more isn't.
    fitting = len(content["model.weights.h5"]) // (4 * per_class)
    for classes in (fitting, fitting + 1):
        config["config"] |= {"classes": classes, "class_names": None}
        with zipfile.ZipFile(doctored, "w", zipfile.ZIP_STORED) as archive:
            for each, data in (content | {"config.json": json.dumps(config).encode()}).items():
                archive.writestr(each, data)
        if classes == fitting:
            require_own_model(doctored)
    with pytest.raises(ValueError, match="classes is .* too small for that"):
        require_own_model(doctored)


@pytest.mark.parametrize(
    "settings", [{"projection_dim": "x" * 1000, "rank": 10**8}, {"projection_dim": 10**8}, {"rank": 1e200}]
)
def test_sizes_of_a_head_that_are_no_numbers_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    path, doctored = tmp_path / "good.keras", tmp_path / "doctored.keras"
    save_model(LRBP("tiny", 3, 32), path)
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    config = json.loads(content["config.json"])
    config["config"] |= settings
    with zipfile.ZipFile(doctored, "w", zipfile.ZIP_STORED) as archive:
        for each, data in (content | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(each, data)
    with pytest.raises(ValueError, match="must be a positive number up to"):
        require_own_model(doctored)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (
            lambda: DFB("tiny", 3, 32, filters_per_class=2),
            {"classes": 3000, "filters_per_class": 100},
            "classes is 3000",
        ),
        (
            lambda: MAMC("tiny", 3, 32, feature_dim=8),
            {"embedding_grid": 64, "image_size": 4096, "resize_size": 4096, "feature_dim": 8192},
            "embedding_grid is 64",
        ),
    ],
    ids=["dfb", "mamc"],
)
def test_products_of_sizes_that_the_file_has_no_weights_for_are_refused(
    model: Any, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path, doctored = tmp_path / "good.keras", tmp_path / "doctored.keras"
    save_model(model(), path)
    require_own_model(path)
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    config = json.loads(content["config.json"])
    config["config"] |= {**settings, "class_names": None}
    with zipfile.ZipFile(doctored, "w", zipfile.ZIP_STORED) as archive:
        for each, data in (content | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(each, data)
    with pytest.raises(ValueError, match=f"{message}.* is too small for that"):
        require_own_model(doctored)
