"""Validation of a `.keras` file before Keras reads it: it may come from an untrusted source.

Keras instantiates every object that a `.keras` file names, including layers that read files, and follows references in
the archive and its HDF5 file. A model of clan-tf is one object of a known class with plain values, and weights that
are in the file. Nothing else is passed to Keras.
"""

import inspect
import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import keras

from clan_tf.errors import shown
from clan_tf.files import open_regular_file, parse_json
from clan_tf.limits import MEMBERS, NAME_LENGTH
from clan_tf.models.arguments import check_whole_numbers, first_twice, is_model_name
from clan_tf.models.classifier import BranchClassifier, argument_names
from clan_tf.models.ensemble import OF_THE_ENSEMBLE, Ensemble, member_class, member_network
from clan_tf.models.foreign import require_known_layers

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
CONFIG_BYTES = 2**24
OPTIONAL = {"name", "temperatures", "accept_error", "thresholds", "taxonomy"}
"""Settings of every model, which are there only where they say something."""
COLLECTIONS = {
    "mid": list,
    "class_names": list,
    "loss_weights": dict,
    "temperatures": dict,
    "thresholds": list,
    "taxonomy": list,
}
"""The settings that aren't a number or string."""
NESTED = "members"
"""The setting that holds descriptions of models, in an ensemble alone."""
TABLES = ("taxonomy",)
"""Those of the collections that hold lists of texts."""
EXPANSION = 100
"""Maximum expansion of a compressed member of the archive, or of the weights in their file."""
_CHUNK = 2**20
_HEADER, _LENGTHS = 30, 26
"""Bytes of a member's local header before its name, and the offset of the lengths of name and extra field."""
Described = tuple[type[BranchClassifier], Mapping[str, Any]]
"""A model's class and settings."""
SMALLEST_MAP, SMALLEST_TOP = 8, 128
"""Fewest channels of any backbone's maps, and of its top-level map: lower bounds on a relation's and head's weights."""


def require_own_model(path: Path) -> None:
    """Checks that a `.keras` file holds a model of clan-tf and nothing that Keras would fetch from elsewhere.

    Raises:
        OSError: if the file can't be read or isn't a regular file.
        ValueError: describing what is wrong with it; `ForeignModel` for an unknown class.
        zipfile.BadZipFile: if it is damaged.
    """
    with open_regular_file(path) as file, _open_archive(file) as archive:
        config = _read_config(archive)
        owner, settings = _require_own_class(config)
        weights = archive.getinfo(WEIGHTS).file_size
        if issubclass(owner, Ensemble):
            _require_members(_members(settings), weights)
        else:
            _require_room(owner, settings, weights)
        require_plain_weights(_open_weights(file, archive))


def _require_room(owner: type[BranchClassifier], settings: Mapping[str, Any], weights: int) -> None:
    """Raises a `ValueError` for settings that make more weights than a file of so many bytes can hold."""
    check_whole_numbers(settings)
    channels = SMALLEST_TOP if settings.get("base") is None else SMALLEST_MAP
    least = {"classes": settings.get("classes", 0) * owner.head_inputs(settings, channels)}
    if settings.get("mid_refinement") != "gap":
        least["embed_dim"] = SMALLEST_MAP * (settings.get("embed_dim") or 0)
    for name, number in (least | owner.fewest_weights(settings)).items():
        # Before they are allocated; they are float32.
        if 4 * number > weights:
            text = f"{name} is {shown(settings.get(name))}, but {WEIGHTS} is too small for that: {weights:,} bytes"
            raise ValueError(text)


def _members(settings: Mapping[str, Any]) -> list[Described]:
    """Returns the members of an ensemble, each checked as a model of its own; a `ValueError` says what is wrong."""
    described = settings.get(NESTED)
    if not isinstance(described, list) or not 2 <= len(described) <= MEMBERS:
        count = len(described) if isinstance(described, list) else shown(described)
        raise ValueError(f"{CONFIG}: {NESTED} must be a list of 2 to {MEMBERS} models; received {count}")
    members: list[Described] = []
    for each in described:
        if not isinstance(each, dict) or each.keys() != {"registered_name", "settings"}:
            raise ValueError(f"{CONFIG}: {NESTED} must have a registered_name and settings; received {shown(each)}")
        owner = member_class(each["registered_name"])
        own = _checked_settings(owner, each["settings"])
        if shared := sorted({*own} & {*OF_THE_ENSEMBLE}):
            raise ValueError(f"{CONFIG}: {NESTED} must leave {shown(shared)} to the ensemble")
        members.append((owner, {**own, "class_names": settings.get("class_names")}))
    return members


def _require_members(members: Sequence[Described], weights: int) -> None:
    """Raises a `ValueError` if members have more weights than a file of so many bytes, together too.

    Their weights are counted without allocating them; those of the same settings, as folds have, once.
    """
    alike: dict[str, list[Described]] = {}
    for owner, settings in members:
        _require_room(owner, settings, weights)
        kind = json.dumps([keras.saving.get_registered_name(owner), {**settings, "temperatures": None}], sort_keys=True)
        alike.setdefault(kind, []).append((owner, settings))
    if 4 * sum(len(models) * _count_weights(*models[0]) for models in alike.values()) > weights:
        raise ValueError(f"its members have more weights than {WEIGHTS} has room for: {weights:,} bytes")


def _count_weights(owner: type[BranchClassifier], settings: Mapping[str, Any]) -> int:
    """Counts the weights that an ensemble has of a member, without allocating them."""
    with keras.StatelessScope(initialize_variables=False):
        network = member_network(owner.from_config(dict(settings)), "member")
    return sum(math.prod(weight.shape) for weight in network.weights)


def require_known_model(path: Path) -> None:
    """Checks a `.keras` file whose backbone is wanted: a model of clan-tf, or one of plain Keras layers.

    Raises:
        OSError: if the file can't be read or isn't a regular file.
        ValueError: saying what is wrong with it.
    """
    with open_regular_file(path) as file, _open_archive(file) as archive:
        config = _read_config(archive)
        is_own = keras.saving.get_registered_object(str(config.get("registered_name"))) is not None
        if not is_own:
            require_known_layers(config)
            _require_size(config, archive.getinfo(WEIGHTS).file_size)
        require_plain_weights(_open_weights(file, archive))
    if is_own:
        require_own_model(path)


class ForeignModel(ValueError):
    """An intact `.keras` file of another model."""


def require_plain_weights(content: Path | RawIOBase | BytesIO) -> None:
    """Checks that an HDF5 file holds its data itself and in a plausible size.

    Raises:
        ValueError: if it refers to other files or places, or declares far more data than it has.
        OSError: if it isn't an HDF5 file.
    """
    size = content.stat().st_size if isinstance(content, Path) else content.seek(0, SEEK_END)
    with h5py.File(content, "r") as file:
        if file.visititems_links(_name_of_soft_link) is not None:
            raise ValueError("its weights refer to another file or place")
        declared = sum(_declared_bytes(item) for item in _datasets(file))
    if declared > EXPANSION * size:
        raise ValueError(f"its weights would take {declared:,} bytes, but the file has {size:,}")


def _name_of_soft_link(name: str, link: Any) -> str | None:
    return None if isinstance(link, h5py.HardLink) else name


def _datasets(file: h5py.File) -> Iterator[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda name, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return iter(found)


def _declared_bytes(dataset: h5py.Dataset) -> int:
    if dataset.external or dataset.is_virtual:
        raise ValueError("its weights refer to another file or place")
    return dataset.nbytes


def _require_size(config: Mapping[str, Any], weights: int) -> None:
    """Raises a `ValueError` for a model with more weights than its file holds, without allocating them."""
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object({**config, "compile_config": None})
    numbers = sum(math.prod(weight.shape) for weight in model.weights)
    if numbers > weights:  # at least one byte each
        raise ValueError(f"its layers have {numbers:,} weights, but {WEIGHTS} has {weights:,} bytes")


def _open_archive(file: Any) -> zipfile.ZipFile:
    """Opens the archive; raises a `ValueError` unless it has just the members that Keras writes, in plausible sizes."""
    archive = zipfile.ZipFile(file)
    names = sorted(info.filename for info in archive.infolist())
    if names not in ([CONFIG, METADATA, WEIGHTS], [CONFIG, WEIGHTS]):
        raise ValueError(f"it must hold {CONFIG}, {METADATA} and {WEIGHTS}, each once; received {shown(names)}")
    for info in archive.infolist():
        if info.file_size > EXPANSION * info.compress_size:
            raise ValueError(f"{info.filename} would grow from {info.compress_size:,} to {info.file_size:,} bytes")
    return archive


def _open_weights(file: BinaryIO, archive: zipfile.ZipFile) -> RawIOBase | BytesIO:
    """Opens the weights as a separate file after verifying their checksum; in memory only if they are compressed.

    Raises:
        EOFError: if they are truncated.
        zipfile.BadZipFile: if their checksum is wrong.
    """
    info = archive.getinfo(WEIGHTS)
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return BytesIO(archive.read(info))
    with archive.open(info) as member:
        while member.read(_CHUNK):
            pass
    file.seek(info.header_offset + _LENGTHS)
    start = info.header_offset + _HEADER + sum(struct.unpack("<HH", file.read(4)))
    return _Section(file, start, info.file_size)


class _Section(RawIOBase):
    """A range of a file's bytes. `zipfile` would reread a whole member of an archive to seek backwards."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file: Any = file  # BinaryIO doesn't guarantee `readinto`
        self._start, self._size, self._place = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._place = offset + {SEEK_SET: 0, SEEK_CUR: self._place, SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: memoryview) -> int:
        self._file.seek(self._start + self._place)
        count = self._file.readinto(memoryview(buffer)[: max(0, self._size - self._place)])
        self._place += count
        return count


def _read_config(archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo(CONFIG).file_size > CONFIG_BYTES:
        raise ValueError(f"{CONFIG} has more than {CONFIG_BYTES:,} bytes")
    try:
        config = parse_json(archive.read(CONFIG))
    except ValueError as error:
        raise ValueError(f"{CONFIG}: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{CONFIG} must describe a model; received {shown(config)}")
    return config


def _require_own_class(config: Mapping[str, Any]) -> Described:
    """Returns a model's class, clan-tf's or registered with Keras by the running program, and its settings."""
    owner = keras.saving.get_registered_object(str(config.get("registered_name")))
    if not (inspect.isclass(owner) and issubclass(owner, BranchClassifier)):
        kind, name = shown(config.get("class_name")), shown(config.get("registered_name"))
        raise ForeignModel(f"is a {kind.strip(chr(39))} (registered as {name}), not a model of clan-tf")
    return owner, _checked_settings(owner, config.get("config"))


def _checked_settings(owner: type[BranchClassifier], settings: Any) -> Mapping[str, Any]:
    """Returns the settings of a model if they are its own and plain; an ensemble's members aren't looked at."""
    if not isinstance(settings, dict):
        raise ValueError(f"{CONFIG} must hold the model's settings; received {shown(settings)}")
    nested = {NESTED} if issubclass(owner, Ensemble) else set()
    known = OPTIONAL | {*argument_names(owner)} | ({"class_names"} if nested else set())
    if unknown := sorted(set(settings) - known):
        raise ValueError(f"{CONFIG} has settings that {owner.__name__} doesn't: {shown(unknown)}")
    for name in settings.keys() - nested:
        _require_plain_value(name, settings[name])
    own_name = settings.get("name")
    if own_name is not None and not is_model_name(own_name):
        raise ValueError(
            f"{CONFIG}: name must be letters, digits, dots, dashes and underscores; received {shown(own_name)}"
        )
    if first_twice(settings.get("class_names") or []) is not None:
        raise ValueError(f"{CONFIG} names a class twice")
    return settings


def _require_plain_value(name: str, value: Any) -> None:
    """Raises a `ValueError` unless a setting is a number, a string, or a collection of these as its name requires."""
    kind = COLLECTIONS.get(name)
    if isinstance(value, dict | list) and not isinstance(value, kind or ()):
        raise ValueError(f"{CONFIG}: {name} must be a plain value; received {shown(value)}")
    if kind and value is not None and not isinstance(value, kind):
        raise ValueError(f"{CONFIG}: {name} must be a {kind.__name__}; received {shown(value)}")
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if name in TABLES:
        if not all(isinstance(part, list) and all(isinstance(text, str) for text in part) for part in parts):
            raise ValueError(f"{CONFIG}: {name} must hold lists of texts; received {shown(value)}")
        return
    if any(isinstance(part, dict | list) for part in parts):
        raise ValueError(f"{CONFIG}: {name} must hold plain values; received {shown(value)}")
    if isinstance(value, str) and len(value) > NAME_LENGTH:
        raise ValueError(f"{CONFIG}: {name} has {len(value):,} characters; at most {NAME_LENGTH:,} are read")
