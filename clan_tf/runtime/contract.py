"""What an exported file says of itself: labels and preprocessing."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clan_tf.errors import UserError

CONTRACT_FILE, LABELS_FILE = "clan_tf.json", "labels.txt"
"""Inside an exported file."""
EXPORT_FILE = "export.json"
"""Beside it: how it was exported, and what the gate found."""


@dataclass(frozen=True)
class Contract:
    """How an exported file is to be used; it travels inside the file.

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
    """

    class_names: tuple[str, ...]
    image_size: int
    resize_size: int
    resize_mode: str
    input_size: int | None
    branches: tuple[str, ...]
    combination: str = "probabilities"
    per_branch: bool = False

    @property
    def labels(self) -> str:
        """The class names, a line each."""
        return "".join(f"{name}\n" for name in self.class_names)

    def to_json(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """What `to_json` wrote; a `ValueError`, `KeyError` or `TypeError` for anything else."""
        values: dict[str, Any] = json.loads(text)
        names, branches = values.pop("class_names"), values.pop("branches")
        contract = cls(tuple(map(str, names)), branches=tuple(map(str, branches)), **values)
        sizes = [contract.image_size, contract.resize_size, contract.input_size or contract.image_size]
        if not all(isinstance(size, int) and 0 < size <= 2**14 for size in sizes):
            raise ValueError("sizes are out of range")
        if contract.resize_mode not in ("stretch", "keep_aspect") or min(sizes[1:]) < contract.image_size:
            raise ValueError("the preprocessing is unknown")
        return contract


def find_exported(path: Path) -> Path | None:
    """The exported file, or SavedModel folder, that a path stands for; `None` if it doesn't look like one.

    Args:
        path: a `.tflite` or `.onnx` file, a folder with `saved_model.pb`, the folder with versions of it, whose highest
            is taken, or the folder that `clan-tf export` made.

    Raises:
        UserError: if the folder's `export.json` is damaged.
    """
    if path.suffix in (".tflite", ".onnx"):
        return path
    versions = [path / str(n) for n in sorted((int(p.name) for p in _numbered(path)), reverse=True)]
    folders = (folder for folder in (path, *versions) if (folder / "saved_model.pb").is_file())
    if folder := next(folders, None):
        return folder
    file = file_of_export(path)
    return find_exported(file) if file else None


def file_of_export(folder: Path) -> Path | None:
    """What lies in the folder of an export, by its `export.json`; `None` if it has none.

    Raises:
        UserError: if `export.json` doesn't name something in the folder.
    """
    try:
        name = json.loads((folder / EXPORT_FILE).read_text(encoding="utf-8"))["file"]
        if Path(name).name != name or name in ("", ".."):
            raise ValueError(name)
    except OSError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{folder / EXPORT_FILE}: must name, as `file`, what was exported into this folder; it is damaged. "
            "Give the exported file itself."
        ) from error
    return folder / name


def read_contract(path: Path) -> Contract:
    """The contract inside a `.tflite` or `.onnx` file or a SavedModel folder.

    Raises:
        UserError: if there is none that can be read.
    """
    try:
        if path.suffix == ".tflite":
            with zipfile.ZipFile(path) as archive:
                text = archive.read(CONTRACT_FILE).decode("utf-8")
        elif path.suffix == ".onnx":
            text = _onnx_metadata(path)[CONTRACT_FILE]
        else:
            text = (path / "assets" / CONTRACT_FILE).read_text(encoding="utf-8")
        return Contract.from_json(text)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no {error.filename}.") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror or error}.") from error
    except ImportError as error:
        raise UserError(
            f"{path}: ONNX files need the packages onnx and onnxruntime: pip install clan-tf[onnx]."
        ) from error
    # Damaged archives and texts raise many types.
    except Exception as error:  # noqa: BLE001
        raise UserError(
            f"{path}: holds no readable {CONTRACT_FILE}; it is damaged, or wasn't written by clan-tf export."
        ) from error


def _onnx_metadata(path: Path) -> dict[str, str]:
    import onnx

    return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}


def _numbered(path: Path) -> list[Path]:
    children = path.iterdir() if path.is_dir() else ()
    return [child for child in children if child.name.isascii() and child.name.isdecimal()]
