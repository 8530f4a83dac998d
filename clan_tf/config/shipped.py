"""YAML files by path, or by the name of one that is installed with the package."""

import os
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from clan_tf.config.yaml_text import parse_yaml
from clan_tf.errors import UserError, nearest
from clan_tf.files import read_regular_file
from clan_tf.files.regular import TEXT_BYTES
from clan_tf.text import command_line, is_address

YAML_SUFFIXES = (".yaml", ".yml")
MODEL_SUFFIXES = (".keras", ".tflite", ".onnx")


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
    # The methods of `Path` raise an `OSError` for names that are too long.
    is_file = os.path.isfile(path)
    if os.path.isdir(path) and name not in shipped:
        raise UserError(f"{path}: is a folder, where a YAML file or a shipped {kind} is needed.{_way_out(path, kind)}")
    if is_file and (other := _other_kind(path)):
        raise UserError(f"{path}: {other}, where a YAML file or a shipped {kind} is needed.")
    if is_file or (os.path.exists(path) and name not in shipped):
        try:
            return read_regular_file(path, TEXT_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{path}: can't be read as a YAML text: {reason}.") from error
    if name in shipped:
        return shipped[name].read_text(encoding="utf-8")
    raise _nothing_called(name, "neither a YAML file nor a shipped " + kind, shipped)


def require_config(given: str, shipped: Mapping[str, Traversable]) -> None:
    """Raises a `UserError` unless there is a folder, a file or a shipped config of that name."""
    if is_address(given):
        raise UserError(
            f"{given}: is an address, and no config is read from one. Records there are named by the keys "
            f"{command_line('data.source=records', f'data.root={given}')}."
        )
    if not os.path.exists(given) and given not in shipped:
        raise _nothing_called(given, "neither a folder, a YAML file nor a shipped config", shipped)


def _nothing_called(given: str, reason: str, shipped: Mapping[str, Traversable]) -> UserError:
    """Returns the error for a name of nothing, with the nearest path; for a plain name, with shipped ones, too."""
    path = Path(given)
    known = next(parent for parent in path.parents if os.path.isdir(parent) or parent == parent.parent)
    first = known / path.relative_to(known).parts[0] if path.name else path
    names: list[str] = []
    with suppress(OSError):
        names = [each.name for each in known.iterdir() if each.is_dir() or each.suffix in YAML_SUFFIXES]
    if len(path.parts) < 2 and not given.endswith((*YAML_SUFFIXES, "/", os.sep)):
        meant = nearest(given, [*shipped, *names])
        return UserError(f"{given}: {reason}.{meant} Shipped are: {', '.join(shipped)}.")
    where = "" if first == path else f", nor {first}"
    meant = f" Did you mean {known / close[0]}?" if (close := get_close_matches(first.name, names, n=1)) else ""
    return UserError(f"{given}: there is no such file or folder{where}.{meant}")


def _other_kind(path: Path) -> str:
    """Says what a file is that isn't YAML, by its suffix, and how such a thing is given; empty if it may be YAML."""
    kind = guess_type(path.name)[0] or ""
    suffix = path.suffix.lower()
    if suffix in MODEL_SUFFIXES:
        start = "; or start from it: --init" if suffix == ".keras" else ""
        return f"is a trained model (predict with it, or evaluate it{start})"
    if kind in ("text/csv", "text/tab-separated-values"):
        values = command_line("data.source=csv", f"data.csv={path}")
        return f"is a table (with the keys {values} its photos are taken)"
    return "is a photo (a folder of photos can be given)" if kind.startswith("image/") else ""


def _way_out(folder: Path, kind: str) -> str:
    if kind != "config":
        return ""
    command = command_line("clan-tf", "config", "show", folder)
    return f" If it is one of photos, write its config first: {command} > my.yaml"
