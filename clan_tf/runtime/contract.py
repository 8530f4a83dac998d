"""What an exported file states about itself: labels and preprocessing."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from clan_tf import limits
from clan_tf.choices import COMBINED, Combination, ResizeMode, chosen_weights, temperature_of
from clan_tf.errors import UserError, shown
from clan_tf.files import open_regular_file, parse_json, read_regular_file, require_regular_file
from clan_tf.rejection import Rejection, checked_rejection
from clan_tf.taxonomy import Taxonomy

CONTRACT_FILE, LABELS_FILE = "clan_tf.json", "labels.txt"
"""Name of the contract inside an exported file."""
EXPORT_FILE = "export.json"
"""Name of the file beside it: how it was exported, and the gate's results."""
CONTRACT_BYTES = 2**24
"""Largest size of either."""
SAVED_MODEL_FILES = 10_000
LARGEST_SIZE = 2**14
"""Largest side of photos, in pixels."""


@dataclass(frozen=True)
class Contract:
    """How an exported file must be used; stored inside the file.

    Attributes:
        class_names: the labels, in the order of the probabilities.
        image_size: side of the square that the network sees, in pixels.
        resize_size: side that photos are resized to; the network sees the centre of it.
        resize_mode: `stretch` to a square, or `keep_aspect`: the shorter side becomes `resize_size`.
        input_size: side of the square photos that the file takes; `None` if it takes photos of any size and resizes
            them itself.
        branches: whose predictions are combined.
        combination: what is averaged over the branches: `probabilities` or `logits`.
        per_branch: whether the branches' own probabilities are among the outputs.
        branch_weights: the weight of each of `branches` in their combination; none if they are equal.
        temperatures: what the logits are divided by: each of `branches`', then those of their combination; none if it
            is 1 for all.
        rejection: when the combined prediction is no answer; `None` if it always is one.
        taxonomy: the names of the classes' levels, then a row for each class, as `Taxonomy.of` takes them; none if the
            model has none.
    """

    class_names: tuple[str, ...]
    image_size: int
    resize_size: int
    resize_mode: ResizeMode
    input_size: int | None
    branches: tuple[str, ...]
    combination: Combination = "probabilities"
    per_branch: bool = False
    branch_weights: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = ()
    rejection: Rejection | None = None
    taxonomy: tuple[tuple[str, ...], ...] = ()

    @property
    def labels(self) -> str:
        """The class names, a line each."""
        return "".join(f"{name}\n" for name in self.class_names)

    def to_json(self) -> str:
        """Returns the text stored in the file; what says nothing isn't named, so that older versions can read it."""
        values = asdict(self)
        for name in ("branch_weights", "temperatures", "rejection", "taxonomy"):
            if not values[name]:
                del values[name]
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    def weights_of(self, branches: Sequence[str]) -> tuple[float, ...] | None:
        """Returns the weights of some branches in their combination; `None` if they are equal."""
        equal = (1.0,) * len(self.branches)
        return chosen_weights(branches, dict(zip(self.branches, self.branch_weights or equal, strict=True)))

    def temperatures_of(self, branches: Sequence[str]) -> tuple[list[float], float]:
        """Returns the temperature of each of some branches, and that of their combination."""
        names = (*self.branches, COMBINED)
        own = dict(zip(names, self.temperatures or (1.0,) * len(names), strict=True))
        return [own[branch] for branch in branches], temperature_of(branches, own)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Contract":
        """Reads what `to_json` wrote; raises a `ValueError` with the reason for anything else."""
        values: Any = parse_json(text)
        if not isinstance(values, dict):
            raise ValueError("it doesn't hold a contract")
        required = {"class_names", "image_size", "resize_size", "resize_mode", "input_size", "branches"}
        known = {field.name for field in fields(cls)}
        if not required <= set(values) <= known:
            raise ValueError(f"it must have the keys {', '.join(sorted(known))}")
        names = _names(values.pop("class_names"), "class_names", limits.CLASSES)
        branches = _names(values.pop("branches"), "branches", 2 * limits.TAPS)
        weights = _weights(values.pop("branch_weights", []), branches)
        temperatures = _temperatures(values.pop("temperatures", []), branches)
        rejection = _rejection(values.pop("rejection", None), len(names))
        taxonomy = contract_taxonomy(Taxonomy.of(table, names) if (table := values.pop("taxonomy", [])) else None)
        own: dict[str, Any] = {"branch_weights": weights, "temperatures": temperatures, "taxonomy": taxonomy}
        contract = cls(names, branches=branches, rejection=rejection, **own, **values)
        contract._check_preprocessing()
        return contract

    def _check_preprocessing(self) -> None:
        sizes = [self.image_size, self.resize_size, self.image_size if self.input_size is None else self.input_size]
        if not all(type(size) is int and 0 < size <= LARGEST_SIZE for size in sizes):
            raise ValueError(f"sizes must be from 1 to {LARGEST_SIZE}; received {shown(sizes)}")
        if self.resize_mode not in ("stretch", "keep_aspect") or min(sizes[1:]) < self.image_size:
            raise ValueError("the preprocessing is unknown")
        if self.combination not in ("probabilities", "logits") or type(self.per_branch) is not bool:
            raise ValueError("the combination of the branches is unknown")


def contract_temperatures(branches: Sequence[str], temperatures: Mapping[str, float]) -> tuple[float, ...]:
    """Returns a contract's `temperatures` from a model's."""
    values = (*(temperatures[branch] for branch in branches), temperature_of(branches, temperatures))
    return values if any(value != 1 for value in values) else ()


def contract_taxonomy(taxonomy: Taxonomy | None) -> tuple[tuple[str, ...], ...]:
    """Returns a contract's `taxonomy` from a model's."""
    return (taxonomy.levels, *taxonomy.rows) if taxonomy else ()


def _names(values: Any, key: str, most: int) -> tuple[str, ...]:
    """Returns names of classes or branches after checking that they are distinct texts."""
    if not isinstance(values, list) or not 0 < len(values) <= most:
        raise ValueError(f"{key} must be a list of 1 to {most:,} names; received {shown(values)}")
    for name in values:
        if not isinstance(name, str) or not 0 < len(name) <= limits.NAME_LENGTH:
            raise ValueError(f"{key} must hold texts of 1 to {limits.NAME_LENGTH:,} characters; received {shown(name)}")
    if len(set(values)) < len(values):
        raise ValueError(f"{key} names one twice")
    return tuple(values)


def _weights(values: Any, branches: tuple[str, ...]) -> tuple[float, ...]:
    """Returns the weights of branches after checking that they are numbers of which one is above 0."""
    if not isinstance(values, list) or len(values) not in (0, len(branches)):
        raise ValueError(f"branch_weights must be a list of {len(branches)} numbers; received {shown(values)}")
    for value in values:
        if type(value) not in (int, float) or not 0 <= value <= limits.LOSS_WEIGHT:
            raise ValueError(f"branch_weights must be from 0 to {limits.LOSS_WEIGHT:,.0f}; received {shown(value)}")
    if values and not any(values):
        raise ValueError("branch_weights are all 0")
    return tuple(float(value) for value in values)


def _temperatures(values: Any, branches: tuple[str, ...]) -> tuple[float, ...]:
    """Returns temperatures after checking that they are numbers of a possible size, one more than branches."""
    if not isinstance(values, list) or len(values) not in (0, len(branches) + 1):
        raise ValueError(f"temperatures must be a list of {len(branches) + 1} numbers; received {shown(values)}")
    for value in values:
        if type(value) not in (int, float) or not 1 / limits.TEMPERATURE <= value <= limits.TEMPERATURE:
            raise ValueError(
                f"temperatures must be from {1 / limits.TEMPERATURE:g} to {limits.TEMPERATURE:g}; "
                f"received {shown(value)}"
            )
    return tuple(float(value) for value in values)


def _rejection(value: Any, classes: int) -> Rejection | None:
    """Returns the rejection that a contract describes, after checking it."""
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"accept_error", "thresholds"}:
        raise ValueError(f"rejection must have the keys accept_error and thresholds; received {shown(value)}")
    return checked_rejection(value["accept_error"], value["thresholds"], classes)


def file_of_export(folder: Path) -> Path | None:
    """Returns the exported file in the folder of an export, by its `export.json`; `None` if it has none.

    Raises:
        UserError: if `export.json` doesn't name something in the folder.
    """
    try:
        name = parse_json(read_regular_file(folder / EXPORT_FILE, CONTRACT_BYTES))["file"]
        if Path(name).name != name or name in ("", ".."):
            raise ValueError(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{folder / EXPORT_FILE}: can't be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder / EXPORT_FILE}: must name, as `file`, what was exported into this folder; it is damaged. "
            "Give the exported file itself."
        ) from error
    return folder / name


def read_contract(path: Path) -> Contract:
    """Reads the contract inside a `.tflite` or `.onnx` file or a SavedModel folder.

    Raises:
        UserError: if there is none that can be read.
    """
    try:
        content: str | bytes
        if path.suffix == ".tflite":
            content = _tflite_metadata(path)
        elif path.suffix == ".onnx":
            content = _onnx_metadata(path)
        else:
            _require_regular_files(path)
            content = read_regular_file(path / "assets" / CONTRACT_FILE, CONTRACT_BYTES)
        return Contract.from_json(content)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no {error.filename}.") from error
    except OSError as error:
        raise UserError(f"{error.filename or path}: can't be read: {error.strerror or error}.") from error
    except ImportError as error:
        raise UserError(
            f"{path}: ONNX files need the packages onnx and onnxruntime: pip install clan-tf[onnx]."
        ) from error
    # Damaged archives and texts raise many types.
    except Exception as error:
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise UserError(
            f"{path}: holds no readable {CONTRACT_FILE}{reason}; it is damaged, or wasn't written by clan-tf export."
        ) from error


def _tflite_metadata(path: Path) -> bytes:
    with open_regular_file(path) as file, zipfile.ZipFile(file) as archive:
        if archive.getinfo(CONTRACT_FILE).file_size > CONTRACT_BYTES:
            raise ValueError(f"it has more than {CONTRACT_BYTES:,} bytes")
        return archive.read(CONTRACT_FILE)


def _onnx_metadata(path: Path) -> str:
    import onnx

    with open_regular_file(path) as file:
        model = onnx.load(file, load_external_data=False)
    text = {entry.key: entry.value for entry in model.metadata_props}[CONTRACT_FILE]
    if len(text) > CONTRACT_BYTES:
        raise ValueError(f"it has more than {CONTRACT_BYTES:,} characters")
    return text


def _require_regular_files(folder: Path) -> None:
    """Refuses a SavedModel with other than regular files: TensorFlow opens them, and would wait for a pipe forever."""
    for number, path in enumerate(folder.rglob("*")):
        if number >= SAVED_MODEL_FILES:
            raise ValueError(f"the folder has more than {SAVED_MODEL_FILES:,} files")
        if not path.is_dir():
            require_regular_file(path)
