"""The positions of photos in the TFRecord shards of a TFDS data set."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from io import BytesIO

import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image

from clan_tf.data.sources.content import RECORD_FOOTER, RECORD_HEADER
from clan_tf.data.sources.source import Box, Span, drawn_box
from clan_tf.errors import UserError


@dataclass(frozen=True)
class Features:
    """The names of the features that are read.

    Attributes:
        image: an encoded photo.
        label: an integer.
        photo_name: a text that names the photo; `None` if there is none, as for the next two.
        class_name: a text that names the class.
        box: four numbers 0…1: top, left, bottom and right.
    """

    image: str
    label: str
    photo_name: str | None = None
    class_name: str | None = None
    box: str | None = None


@dataclass(frozen=True)
class Record:
    """A labelled photo in a shard."""

    span: Span
    label: int
    photo_name: str
    class_name: str
    box: Box | None


def read_shard(file: str, features: Features) -> Iterator[Record]:
    """Reads every record of a shard in one sequential pass.

    The checksums are left to TensorFlow, which verifies them whenever it reads a record; here that would take most of
    the time.

    Args:
        file: a local path or any path of `tf.io.gfile`.
        features: what to read.

    Raises:
        UserError: if the shard is missing, can't be read or is cut short, or a record lacks a feature.
    """
    try:
        for number, (start, data) in enumerate(_frames(file)):
            yield _record(data, f"{file}, record {number}", Span(file, start, 0, 0), features)
    except tf.errors.NotFoundError as error:
        raise UserError(f"data.root: there is no {file}.") from error
    except tf.errors.OpError as error:
        raise UserError(f"data.root: {file} can't be read: {error.message.removeprefix(f'{file}; ')}.") from error


def _frames(file: str) -> Iterator[tuple[int, bytes]]:
    """Yields where each record begins, and its data."""
    size, start = tf.io.gfile.stat(file).length, 0
    with tf.io.gfile.GFile(file, "rb") as stream:
        while start < size:
            length = int.from_bytes(stream.read(RECORD_HEADER)[:8], "little")
            end = start + RECORD_HEADER + length + RECORD_FOOTER
            if end > size:
                raise UserError(f"{file}: is damaged or cut short at byte {start}. Copy or prepare it again.")
            yield start, stream.read(length + RECORD_FOOTER)[:length]
            start = end


def _record(data: bytes, place: str, span: Span, features: Features) -> Record:
    try:
        values = tf.train.Example.FromString(data).features.feature
        image = values[features.image].bytes_list.value[0]
        label = values[features.label].int64_list.value[0]
        photo_name, class_name = (
            _text(values[name]) if name else "" for name in (features.photo_name, features.class_name)
        )
        sides = values[features.box].float_list.value if features.box else ()
    except (DecodeError, IndexError) as error:
        wanted = ", ".join(name for name in astuple(features) if name)
        raise UserError(f"{place}: doesn't hold the features {wanted}.") from error
    box = _box(sides, image, place) if sides else None
    return Record(span._replace(offset=data.index(image), length=len(image)), label, photo_name, class_name, box)


def _text(value: tf.train.Feature) -> str:
    return value.bytes_list.value[0].decode("utf-8", "surrogateescape")


def _box(sides: Sequence[float], image: bytes, place: str) -> Box | None:
    """Returns the box in pixels; none where the photo can't be read, which the check of the photos reports."""
    try:
        with Image.open(BytesIO(image)) as opened:
            width, height = opened.size
    except (OSError, Image.DecompressionBombError):
        return None
    top, left, bottom, right = sides
    return drawn_box(left * width, top * height, right * width, bottom * height, place)
