"""The check of every photo before it is used: what is broken, and what is seen of the others."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clan_tf.config import DataConfig
from clan_tf.data import Photo
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import check_photos, probe, used_part
from clan_tf.data.sources.generated import draw_photo
from clan_tf.errors import UserError
from clan_tf.photos import PhotoError
from clan_tf.progress import Progress
from helpers.photos import write_photo


def test_photos_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    write_photo(tmp_path / "good.jpg", (90, 90, 90))
    (tmp_path / "text.jpg").write_text("not a photo", encoding="utf-8")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:-300])
    (tmp_path / "empty.jpg").touch()
    photos = [Photo(str(tmp_path / name), 0) for name in ("good.jpg", "text.jpg", "cut.jpg", "empty.jpg", "gone.jpg")]
    with pytest.raises(UserError) as caught:
        check_splits({"train": photos[:3], "test": photos[3:]}, DataConfig(), Progress())
    text = str(caught.value)
    assert "4 photos can't be read" in text and "good.jpg" not in text and "test: " in text
    for name in (
        "text.jpg: not an image",
        "cut.jpg: truncated",
        "empty.jpg: the file is empty",
        "gone.jpg: No such file",
    ):
        assert name in text


def test_a_jpeg_that_was_cut_and_closed_again_is_broken_for_training_too(tmp_path: Path) -> None:
    whole = BytesIO()
    Image.fromarray(draw_photo(3, np.random.default_rng(0), 300)).save(whole, "JPEG")
    content = whole.getvalue()
    path = tmp_path / "closed.jpg"
    path.write_bytes(content[: len(content) // 2] + content[-2:])
    with pytest.raises(UserError, match="closed.jpg: truncated: its picture data ends early"):
        check_splits({"train": [Photo(str(path), 0), Photo("whole", 0, content)]}, DataConfig(), Progress())


def test_a_photo_without_details_is_whole() -> None:
    """Its lowest rows are one colour, as those of a cut photo are."""
    plain = BytesIO()
    Image.new("RGB", (400, 300), (200, 210, 220)).save(plain, "JPEG")
    assert probe(plain.getvalue()).format == "JPEG"


@pytest.mark.parametrize(
    ("start", "name"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x20ftypavif", "AVIF"), (b"\xff\x0a", "JPEG XL"), (b"", "not an image")],
)
def test_formats_that_are_not_decoded_are_named_with_the_way_out(start: bytes, name: str) -> None:
    with pytest.raises(PhotoError, match=name) as caught:
        probe(start + bytes(100))
    assert ("convert" in str(caught.value)) is bool(start)


def test_a_tiff_is_named_with_the_way_out() -> None:
    content = BytesIO()
    Image.new("RGB", (8, 8)).save(content, "TIFF")
    with pytest.raises(PhotoError, match="the format TIFF isn't decoded; convert it"):
        probe(content.getvalue())


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_every_mode_of_photo_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    if (mode, suffix) in {("CMYK", "png"), ("RGBA", "jpg"), ("P", "jpg"), ("I;16", "jpg")}:
        pytest.skip("no such file can be written")
    path = tmp_path / f"photo.{suffix}"
    _grey_photo(mode).save(path)
    checked = check_photos([Photo(str(path), 0)])
    decoded = used_part(checked, 0).numpy()
    assert decoded.shape == (12, 16, 3)
    assert np.abs(decoded.astype(int) - 200).max() <= 3


def _grey_photo(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.full((12, 16), 200 * 257, "uint16"))
    grey = Image.new("RGB", (16, 12), (200, 200, 200))
    return grey.quantize(4) if mode == "P" else grey.convert(mode)


@pytest.mark.parametrize("suffix", ["bmp", "gif", "webp"])
def test_other_formats_named_jpg_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    Image.new("RGB", (16, 12), (10, 120, 240)).save(path)
    assert probe(path.read_bytes()).format == {"bmp": "BMP", "gif": "GIF", "webp": "WebP"}[suffix]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype="uint8")
    Image.fromarray(pixels).save(path, exif=exif)
    checked = check_photos([Photo(str(path), 0)])
    decoded = used_part(checked, 0).numpy()
    with Image.open(path) as image:
        np.testing.assert_array_equal(decoded, np.asarray(ImageOps.exif_transpose(image)))
