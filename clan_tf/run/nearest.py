"""The run or model that a mistyped path may have meant."""

from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from clan_tf.run.directory import is_run


def nearest_run(path: Path, suffixes: tuple[str, ...] = ()) -> str:
    """Returns ` Did you mean PATH?` for the run closest to a path of nothing, or an empty text if none is close.

    One part of the path may be mistyped, its last or a folder before that.

    Args:
        path: the path.
        suffixes: those of files that may be meant, too, such as `.keras`.
    """
    folder = next((parent for parent in path.parents if parent.is_dir()), None)
    if folder is None or path.exists():
        return ""
    first, *rest = path.relative_to(folder).parts
    meant: dict[str, Path] = {}
    with suppress(OSError):
        for sibling in folder.iterdir():
            whole = sibling.joinpath(*rest)
            found = next((each for each in (whole, sibling) if _is_meant(each, suffixes)), None)
            if found:
                meant[sibling.name] = found
    close = get_close_matches(first, meant, n=1)
    return f" Did you mean {meant[close[0]]}?" if close else ""


def _is_meant(path: Path, suffixes: tuple[str, ...]) -> bool:
    return is_run(path) or (path.suffix in suffixes and path.is_file())
