"""Hand-made `.keras` files: a good one with other settings or other numbers."""

import json
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def with_settings(source: Path, target: Path, settings: Mapping[str, Any]) -> None:
    """Copies a model and changes settings in its `config.json`."""

    def change(content: bytes) -> bytes:
        config = json.loads(content)
        config["config"].update(settings)
        return json.dumps(config).encode()

    _rewrite(source, target, "config.json", change)


def with_weights(source: Path, target: Path, number: float) -> None:
    """Copies a model and sets every weight to one number."""

    def change(content: bytes) -> bytes:
        stream = BytesIO(content)
        with h5py.File(stream, "r+") as file:
            file.visititems(lambda name, item: _fill(item, number))
        return stream.getvalue()

    _rewrite(source, target, "model.weights.h5", change)


def _fill(item: Any, number: float) -> None:
    if isinstance(item, h5py.Dataset) and np.issubdtype(item.dtype, np.floating):
        item[...] = number


def _rewrite(source: Path, target: Path, member: str, change: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name == member else content)
