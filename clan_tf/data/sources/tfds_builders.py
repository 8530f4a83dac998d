"""Prepared data sets of TensorFlow Datasets: finding and opening them. Nothing is downloaded here."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import tensorflow as tf
from google.protobuf.json_format import ParseError

from clan_tf.errors import UserError, nearest

INFO_FILES = ("dataset_info.json", "features.json")
"""The files in which TFDS describes a data set."""
_NAMED_SCHEMES = ("gs://", "s3://")
"""Schemes of the folders, besides local ones, in which TFDS itself looks for a name."""
_NOT_OPENED = (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, ParseError, tf.errors.OpError)
"""What TFDS raises if these files are damaged."""
DEAD_LINKS = {"cars196": "its download link is dead; use the source 'cars' with a copy of the photos"}


def import_tfds() -> ModuleType:
    """Imports the package `tensorflow_datasets`; a `UserError` where it isn't installed."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"data.source: needs TensorFlow Datasets ({error}). Install it: pip install 'clan-tf[data]'."
        ) from error
    return tensorflow_datasets


@contextmanager
def quiet_tfds() -> Iterator[ModuleType]:
    """Yields the package `tensorflow_datasets`, which logs nothing but errors meanwhile."""
    tfds = import_tfds()
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield tfds
    finally:
        logging.set_verbosity(before)


@dataclass(frozen=True)
class Prepared:
    """A data set that can be read.

    Attributes:
        info: TFDS' `DatasetInfo`.
        folder: where its files are, a local folder or one of `tf.io.gfile`.
        metadata: what was stored beside it.
    """

    info: Any
    folder: str
    metadata: dict[str, Any]

    def shards(self, split: Any) -> list[str]:
        """Returns the TFRecord files of a split, even where TFDS itself reads another format stored beside them."""
        template = split.filename_template.replace(filetype_suffix="tfrecord")
        paths = [os.fspath(path) for path in split.replace(filename_template=template).filepaths]
        return [f"{self.folder}/{os.path.relpath(path, os.fspath(template.data_dir))}" for path in paths]


def open_named(name: str, data_dir: str | None) -> Prepared:
    """Returns `NAME`, `NAME/CONFIG` or `NAME:VERSION`, from its prepared files.

    Args:
        name: as TFDS names it.
        data_dir: the folder of prepared data sets; `None` for `TFDS_DATA_DIR` or TFDS' own.

    Raises:
        UserError: if it isn't prepared there, saying how to prepare it, or if its files are damaged.
    """
    with quiet_tfds() as tfds:
        from tensorflow_datasets.core.read_only_builder import builder_from_files

        folder = str(data_dir or os.environ.get("TFDS_DATA_DIR") or tfds.core.constants.DATA_DIR)
        folder = folder.removeprefix("file://")
        if "://" in folder and not folder.startswith(_NAMED_SCHEMES):
            raise UserError(
                f"data.root: TFDS looks for 'tfds:{name}' in local folders and {' and '.join(_NAMED_SCHEMES)} alone; "
                f"received {folder}. Give the folder of its version: --set data.source=records --set data.root=FOLDER."
            )
        try:
            builder = builder_from_files(name, data_dir=folder)
        except tfds.core.DatasetNotFoundError:
            known = tfds.list_builders(with_community_datasets=False)
            raise UserError(_not_prepared(name, folder, known)) from None
        except _NOT_OPENED as error:
            for prepared in _prepared(folder, re.split("[/:]", name)[0], "features.json"):
                _require_info(f"{folder}/{prepared}")
            raise UserError(f"data.source: 'tfds:{name}' can't be opened: {_first_line(error)}") from error
        return _readable(builder, os.fspath(builder.data_dir))


def open_folder(root: str) -> Prepared:
    """Returns the data set whose files are in `root`, a local folder or one of `tf.io.gfile`.

    Raises:
        UserError: if there is no prepared data set, or its files are damaged.
    """
    root = root.rstrip("/")
    _require_info(root)
    with quiet_tfds() as tfds, _local_info(root) as local:
        try:
            builder = tfds.builder_from_directory(local)
        except _NOT_OPENED as error:
            raise UserError(
                f"{root}: its {' or '.join(INFO_FILES)} is damaged ({_first_line(error)}). Copy or prepare the data "
                "set again."
            ) from error
        return _readable(builder, root)


def _require_info(folder: str) -> None:
    """Raises a `UserError` unless the files that describe a data set are in `folder` and are JSON."""
    for name in INFO_FILES:
        file = f"{folder}/{name}"
        try:
            with tf.io.gfile.GFile(file, "rb") as stream:
                json.loads(stream.read())
        except tf.errors.NotFoundError as error:
            raise UserError(
                f"data.root: {folder} holds no records: there is no {name}. Expected is what "
                "`clan-tf data pack CONFIG --output FOLDER` wrote, or the whole version folder of a TFDS data set."
            ) from error
        except tf.errors.UnimplementedError as error:
            raise UserError(
                f"data.root: TensorFlow here reads no {folder.partition('://')[0]}://, as in {folder}. Give a local "
                "folder, file:// or gs://."
            ) from error
        except tf.errors.OpError as error:
            raise UserError(f"data.root: {file} can't be read: {error.message.removeprefix(f'{file}; ')}.") from error
        except ValueError as error:
            raise UserError(f"{file}: is damaged ({error}). Copy or prepare the data set again.") from error


@contextmanager
def _local_info(root: str) -> Iterator[str]:
    """Yields a local folder with all that describes a data set; TFDS supports fewer file systems than TensorFlow."""
    if "://" not in root:
        yield root
        return
    with TemporaryDirectory() as folder:
        for name in tf.io.gfile.listdir(root):
            if name.endswith((".json", ".txt")):
                tf.io.gfile.copy(f"{root}/{name}", os.path.join(folder, name))
        yield folder


def _readable(builder: Any, folder: str) -> Prepared:
    """Returns what a builder knows; raises a `UserError` unless there are TFRecord files and intact metadata."""
    info = builder.info
    formats = [found.value for found in (info.file_format, *info.alternative_file_formats) if found]
    if formats and "tfrecord" not in formats:
        raise UserError(
            f"data.source: {folder} is in the format {formats[0]}; only tfrecord is read. Prepare it again with "
            'tfds.builder(NAME, data_dir=FOLDER, file_format="tfrecord").download_and_prepare(), or, with Apache Beam '
            f"installed, run tfds convert_format --dataset_version_dir={folder} --out_file_format=tfrecord."
        )
    try:
        return Prepared(info, folder, dict(info.metadata or {}))
    except ValueError as error:
        raise UserError(f"{folder}/metadata.json: is damaged ({error}). Copy the folder again.") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _not_prepared(name: str, folder: str, known: list[str]) -> str:
    start = f"data.source: 'tfds:{name}' isn't prepared in {folder}"
    base = re.split("[/:]", name)[0]
    if others := _prepared(folder, base):
        return f"{start}; there is {', '.join(others)}. Write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:VERSION."
    if base in DEAD_LINKS:
        return f"{start}, and TFDS can't prepare it: {DEAD_LINKS[base]}."
    if base not in known:
        return f"{start}, and TFDS knows no such data set.{nearest(base, known)}"
    command = f'import tensorflow_datasets as tfds; tfds.builder("{name}", data_dir="{folder}").download_and_prepare()'
    return (
        f"{start}, and nothing is downloaded without being asked. Prepare it once:\n  python -c '{command}'\n"
        "Or name the folder that holds it: --set data.root=FOLDER, or TFDS_DATA_DIR."
    )


def _prepared(folder: str, base: str, info_file: str = "dataset_info.json") -> list[str]:
    """Returns the versions of a data set that are prepared in a folder, as `NAME/VERSION` or `NAME/CONFIG/VERSION`."""
    patterns = [f"{folder}/{base}/{depth}/{info_file}" for depth in ("*", "*/*")]
    return [os.path.dirname(file)[len(folder) + 1 :] for file in tf.io.gfile.glob(patterns)]
