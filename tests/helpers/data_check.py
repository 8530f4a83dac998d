"""Drawn photos, and how their check is run."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from clan_tf.cli.main import app
from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.check import DataReport, check_data
from clan_tf.data.sources.generated import draw_photo
from helpers import TINY_DEMO

CLASSES = ("long beak", "short beak")
SIZE = 96


def picture(number: int, size: int = SIZE) -> Image.Image:
    """A drawn bird like no other, though all are alike in layout."""
    return Image.fromarray(draw_photo(number % 8, np.random.default_rng([7, number]), size))


def encoded(image: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    content = BytesIO()
    image.save(content, image_format, **options)
    return content.getvalue()


def checked(root: Path) -> DataReport:
    return check_data(read_source(DataConfig(root=root)))


def run(root: Path, *options: str) -> Result:
    keys = ("data.source=folders", f"data.root={root}", "training.batch_size=4")
    arguments = [*(word for key in keys for word in ("--set", key)), *options]
    return CliRunner().invoke(app, ["data", "check", TINY_DEMO, *arguments])


def relative(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix()
