"""Prepared data sets of TensorFlow Datasets: finding and opening them. Nothing is downloaded here."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import tensorflow as tf

from clan_tf.errors import UserError, nearest

DEAD_LINKS = {"cars196": "its download link is dead; use the source 'cars' with a copy of the photos"}


def import_tfds() -> ModuleType:
    """The package `tensorflow_datasets`; a `UserError` where it isn't installed."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"data.source: needs TensorFlow Datasets ({error}). Install it: pip install 'clan-tf[data]'."
        ) from error
    return tensorflow_datasets


@contextmanager
def quiet_tfds() -> Iterator[ModuleType]:
    """The package `tensorflow_datasets`, which logs nothing but errors meanwhile."""
    tfds = import_tfds()
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield tfds
    finally:
        logging.set_verbosity(before)


def open_named(name: str, data_dir: str | None) -> Any:
    """The builder of `NAME`, `NAME/CONFIG` or `NAME:VERSION`, from its prepared files.

    Args:
        name: as TFDS names it.
        data_dir: the folder of prepared data sets; `None` for `TFDS_DATA_DIR` or TFDS' own.

    Raises:
        UserError: if it isn't prepared there, telling how to prepare it.
    """
    with quiet_tfds() as tfds:
        from tensorflow_datasets.core.read_only_builder import builder_from_files

        folder = str(data_dir or os.environ.get("TFDS_DATA_DIR") or tfds.core.constants.DATA_DIR)
        try:
            builder = builder_from_files(name, data_dir=folder)
        except tfds.core.DatasetNotFoundError:
            known = tfds.list_builders(with_community_datasets=False)
            raise UserError(_not_prepared(name, folder, known)) from None
        except ValueError as error:
            raise UserError(f"data.source: 'tfds:{name}' can't be opened: {str(error).splitlines()[0]}") from error
        return _require_tfrecords(builder)


def open_folder(root: str) -> Any:
    """The builder of the data set whose files are in `root`, a local folder or one of `tf.io.gfile`.

    Raises:
        UserError: if there is no prepared data set.
    """
    with quiet_tfds() as tfds:
        try:
            builder = tfds.builder_from_directory(root)
        except (tfds.core.dataset_info.DatasetInfoFileError, KeyError, ValueError, OSError, tf.errors.OpError) as error:
            raise UserError(
                f"data.root: {root} holds no records ({str(error).splitlines()[0]}). Expected is what "
                "`clan-tf data pack CONFIG --output FOLDER` wrote, or the version folder of a TFDS data set."
            ) from error
        return _require_tfrecords(builder)


def read_metadata(builder: Any) -> dict[str, Any]:
    """What was stored beside a data set; a `UserError` if that file is damaged."""
    try:
        return dict(builder.info.metadata or {})
    except ValueError as error:
        raise UserError(f"{builder.data_dir}/metadata.json: is damaged ({error}). Copy the folder again.") from error


def tfrecord_shards(split: Any) -> list[str]:
    """The TFRecord files of a split, also where TFDS itself reads another format that stands beside them."""
    template = split.filename_template.replace(filetype_suffix="tfrecord")
    return [os.fspath(path) for path in split.replace(filename_template=template).filepaths]


def _require_tfrecords(builder: Any) -> Any:
    """The builder; a `UserError` unless there are TFRecord files."""
    folder, info = builder.data_dir, builder.info
    formats = [found.value for found in (info.file_format, *info.alternative_file_formats) if found]
    if not formats or "tfrecord" in formats:
        return builder
    raise UserError(
        f"data.source: {folder} is in the format {formats[0]}; only tfrecord is read. Prepare it again with "
        'tfds.builder(NAME, data_dir=FOLDER, file_format="tfrecord").download_and_prepare(), or, with Apache Beam '
        f"installed, run tfds convert_format --dataset_version_dir={folder} --out_file_format=tfrecord."
    )


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


def _prepared(folder: str, base: str) -> list[str]:
    """The versions of a data set that are prepared in a folder, as `NAME/VERSION` or `NAME/CONFIG/VERSION`."""
    patterns = [f"{folder}/{base}/{depth}/dataset_info.json" for depth in ("*", "*/*")]
    return [os.path.dirname(file)[len(folder) + 1 :] for file in tf.io.gfile.glob(patterns)]
