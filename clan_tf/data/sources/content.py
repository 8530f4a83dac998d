"""The encoded bytes of a photo, wherever its source keeps them."""

import os
import re

import tensorflow as tf

from clan_tf.data.sources.source import Photo, Span
from clan_tf.photos import PhotoError
from clan_tf.photos.files import read_photo_file

RECORD_HEADER, RECORD_FOOTER = 12, 4
"""Bytes around a record's data: its length and a checksum before, a checksum after."""


def read_content(photo: Photo, verified: bool = True) -> bytes:
    """Reads the encoded photo.

    Args:
        photo: the photo.
        verified: whether the checksum of a record is verified, which reads the whole record.

    Raises:
        OSError: if its file can't be read.
        tf.errors.OpError: if its record can't be read, or doesn't match its checksum.
    """
    if photo.content is not None:
        return photo.content
    if photo.span is None:
        return read_photo_file(photo.name)
    return _read_verified(photo.span) if verified else _read_span(photo.span)


def _read_verified(span: Span) -> bytes:
    file, record, offset, length = span
    data = record_at(tf.constant(os.fsencode(file)), tf.constant(record, tf.int64)).get_single_element().numpy()
    return data[offset : offset + length]


def _read_span(span: Span) -> bytes:
    with tf.io.gfile.GFile(span.file, "rb") as stream:
        stream.seek(span.record + RECORD_HEADER + span.offset)
        return stream.read(span.length)


def record_at(file: tf.Tensor, start: tf.Tensor) -> tf.data.Dataset:
    """Returns a dataset of one string: the data of the TFRecord that begins at byte `start` of a file.

    Its checksum is verified. Only the raw operation takes a place in the file.
    """
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=file, compression_type="", buffer_size=tf.constant(0, tf.int64), byte_offsets=start
    )
    return tf.data.experimental.from_variant(records, tf.TensorSpec((), tf.string)).take(1)


def read_or_refuse(photo: Photo) -> bytes:
    """Reads the encoded photo.

    Raises:
        PhotoError: if it can't be read, with the reason.
    """
    try:
        return read_content(photo)
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
    except tf.errors.OpError as error:
        raise PhotoError(plain_message(error)) from error


def plain_message(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's message without the names of its nodes."""
    return re.sub(r"\{\{.*?\}\}|\[Op.*", "", error.message.splitlines()[0]).strip()
