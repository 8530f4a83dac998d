"""YAML files by path, or by the name of one that is installed with the package."""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from clan_tf.config.yaml_text import parse_yaml
from clan_tf.errors import UserError, nearest
from clan_tf.files import read_regular_file
from clan_tf.files.regular import TEXT_BYTES


def shipped_files(package: str) -> dict[str, Traversable]:
    """Finds the YAML files of an installed package, by name without the suffix."""
    files = resources.files(package).iterdir()
    return {file.name.removesuffix(".yaml"): file for file in sorted(files, key=str) if file.name.endswith(".yaml")}


def title_of(file: Traversable) -> str:
    """Returns the comment in the first line of a shipped file, which says what it is; empty if there is none."""
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def read_yaml(given: str | Path, shipped: Mapping[str, Traversable], kind: str) -> Any:
    """Reads the value of a YAML file.

    Args:
        given: path of a file, or the name of a shipped one. A file takes precedence over a shipped one of that name.
        shipped: the shipped ones.
        kind: what it holds, for messages, such as `config`.

    Raises:
        UserError: if there is no such file, it can't be read, or it isn't YAML.
    """
    text = _read_text(given, shipped, kind)
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{given}: not a YAML file: {error}") from error


def _read_text(given: str | Path, shipped: Mapping[str, Traversable], kind: str) -> str:
    path, name = Path(given), str(given)
    if path.is_file() or (path.exists() and name not in shipped):
        try:
            return read_regular_file(path, TEXT_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{path}: can't be read as a YAML text: {reason}.") from error
    if name in shipped:
        return shipped[name].read_text(encoding="utf-8")
    folder = "folder, a " if kind == "config" else ""
    raise UserError(
        f"{given}: neither a {folder}YAML file nor a shipped {kind}.{nearest(name, list(shipped))} "
        f"Shipped are: {', '.join(shipped)}."
    )
