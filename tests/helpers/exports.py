"""Tiny models to export, their files, and photos as the world has them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from clan_tf.export.metadata import with_metadata
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.pruning import inference_model
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.models import BranchClassifier, load_model, save_model
from clan_tf.rejection import Rejection
from clan_tf.run import RunDirectory
from clan_tf.runtime import Contract
from helpers.models import Row, build, clan

NAMES = ["red bird", "grün", "blue, small", "d", "e"]
SIZE, RESIZE = 32, 36
PHOTOS = np.random.default_rng(3).integers(0, 256, (24, RESIZE, RESIZE, 3), dtype="uint8")


def answering_model(**settings: object) -> BranchClassifier:
    """A tiny model whose weights are random everywhere, so that every part of it has a say."""
    model, _ = build(Row("model", clan(resize_size=RESIZE, class_names=NAMES, **settings), takes_photos=True))
    return model


def contract_of(model: BranchClassifier, input_size: int | None = RESIZE) -> Contract:
    return Contract(tuple(model.class_names), SIZE, RESIZE, "stretch", input_size, model.branches)


def keras_answers(model: BranchClassifier, photos: np.ndarray = PHOTOS) -> np.ndarray:
    """On the centres of square photos of the size that photos are resized to."""
    return np.asarray(model(centres(photos))["combined"])


def centres(photos: np.ndarray) -> np.ndarray:
    """What a model sees of photos of the size that photos are resized to."""
    edge = (RESIZE - SIZE) // 2
    return photos[:, edge:-edge, edge:-edge]


def tflite_file(
    path: Path,
    model: BranchClassifier,
    quantization: str = "none",
    io: str = "float32",
    calibration: Sequence[np.ndarray] = PHOTOS,
) -> Path:
    pruned = inference_model(model, model.branches)
    content = classifier_to_tflite(pruned, RESIZE, quantization, io, calibration=list(calibration))
    path.write_bytes(with_metadata(content, "birds", contract_of(model), "a test"))
    return path


def unsure_file(run: RunDirectory, folder: Path) -> str:
    """A copy of a run's model that withholds answers with a probability of less than 0.4."""
    model = load_model(run.best)
    model.rejection = Rejection(0.05, (0.4,))
    save_model(model, folder / "unsure.keras")
    return str(folder / "unsure.keras")


def exported_file(path: Path, model: BranchClassifier) -> Path:
    """A `.tflite` or `.onnx` file."""
    if path.suffix == ".tflite":
        return tflite_file(path, model)
    path.write_bytes(classifier_to_onnx(inference_model(model, model.branches), contract_of(model)))
    return path


def write_encoded(folder: Path) -> list[Path]:
    """Photos as the world has them: JPEG, PNG, WebP, grey, CMYK, transparent, and all EXIF orientations."""
    rng = np.random.default_rng(5)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype="uint8")).resize((80, 60), Image.Resampling.BICUBIC)
    variants = {"rgb.jpg": smooth, "rgb.png": smooth, "grey.jpg": smooth.convert("L"), "grey.png": smooth.convert("L")}
    variants |= {"cmyk.jpg": smooth.convert("CMYK"), "transparent.png": smooth.convert("RGBA")}
    for name, image in variants.items():
        image.save(folder / name)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        smooth.save(folder / f"turned_{orientation}.jpg", exif=exif)
        smooth.save(folder / f"turned_{orientation}.png", exif=exif)
        smooth.save(folder / f"turned_{orientation}.webp", exif=exif, lossless=True)
    return sorted(folder.iterdir())
