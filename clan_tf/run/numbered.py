"""Folders with a name and the next free number."""

import glob
from pathlib import Path


def make_numbered(root: Path, name: str) -> Path:
    """Makes the next free `ROOT/NAME-001`, `ROOT/NAME-002`, …, whatever other processes make meanwhile."""
    endings = (path.name.removeprefix(f"{name}-") for path in root.glob(f"{glob.escape(name)}-*"))
    taken = [int(ending) for ending in endings if ending.isdecimal()]
    number = max(taken, default=0) + 1
    while True:
        try:
            path = root / f"{name}-{number:03d}"
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
