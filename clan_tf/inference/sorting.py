"""Photos sorted into folders by their predicted labels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clan_tf.errors import CheckFailed
from clan_tf.files import write_csv
from clan_tf.inference.folder_names import folder_names, name_key
from clan_tf.inference.table import answer_cells, prediction_cells
from clan_tf.photos import read_photo_file
from clan_tf.progress import Progress

UNSURE = "_unsure"
"""The folder of photos whose most probable label is no answer."""
LISTING = "predictions.csv"
"""The table of photos, their labels and the files made of them, beside the folders."""
UNSURE_BELOW = 0.5
"""The probability below which a label is no answer, unless the model or the caller has another."""
_NAME_BYTES, _SUFFIX_BYTES = 255, 20
"""Most bytes of a file's name, and of what counts as its suffix."""


def sort_photos(
    results: Sequence[dict[str, Any]],
    folder: Path,
    final: Path,
    link: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Copies predicted photos into a folder per label, or links to them, and lists them in `predictions.csv`.

    Photos whose most probable label is no answer go into `_unsure`.

    Copies have the bytes and the time of change of their photos, and their names, numbered where two in a folder would
    have the same. A photo that is given twice is copied once.

    Args:
        results: what `predict` returned for files.
        folder: an empty folder to write into.
        final: the path that it will have, for the results and messages.
        link: whether to make symbolic links to the photos' absolute paths instead of copies.
        progress: where progress is shown.

    Returns:
        The results, each with the path of its `file`; or with an `error`, if it has no labels or can't be copied.

    Raises:
        CheckFailed: if the folder can't be written into, such as for lack of space.
    """
    sorter = _Sorter(results, folder, link)
    sorted_results = []
    doing = "linking" if link else "copying"
    try:
        with (progress or Progress()).track(f"{doing} photos", len(results)) as advance:
            for result in results:
                sorted_results.append(sorter.place(result))
                advance()
        _write_listing(folder / LISTING, sorted_results)
    except OSError as error:
        way_out = " Without --link photos are copied." if link else ""
        raise CheckFailed(
            f"{final}: can't be written: {error.strerror or error}. None of its files are left.{way_out}"
        ) from error
    return [
        {**result, "file": str(final / result["file"])} if "file" in result else result for result in sorted_results
    ]


class _Sorter:
    """One call's folders and the names that are taken in them."""

    def __init__(self, results: Sequence[dict[str, Any]], folder: Path, link: bool) -> None:
        labels = {result["predictions"][0]["label"] for result in results if "predictions" in result}
        self._folders = folder_names(labels, reserved=(UNSURE, LISTING))
        self._folder, self._link = folder, link
        self._taken: set[tuple[str, str]] = set()
        self._numbers: dict[tuple[str, str], int] = {}
        self._placed: dict[Path, dict[str, str]] = {}

    def place(self, result: dict[str, Any]) -> dict[str, Any]:
        """Copies or links a photo; returns its result with `file`, relative to the folder, or `error`."""
        if "predictions" not in result:
            return result
        photo = Path(result["path"]).absolute()
        if photo not in self._placed:
            self._placed[photo] = self._place(photo, result["label"])
        return {**result, **self._placed[photo]}

    def _place(self, photo: Path, label: str | None) -> dict[str, str]:
        inner = UNSURE if label is None else self._folders[label]
        try:
            status = photo.stat()
            content = None if self._link else read_photo_file(photo)
        except OSError as error:
            return {"error": f"it was predicted, but can't be {'linked' if self._link else 'copied'}: {error.strerror}"}
        name = self._free_name(inner, photo.name)
        target = self._folder / inner / name
        target.parent.mkdir(exist_ok=True)
        if content is None:
            target.symlink_to(photo)
        else:
            with target.open("xb") as file:
                file.write(content)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        return {"file": f"{inner}/{name}"}

    def _free_name(self, inner: str, name: str) -> str:
        """Returns a photo's name, numbered if another photo in the folder has it."""
        stem, suffix = os.path.splitext(name)
        if len(os.fsencode(suffix)) > _SUFFIX_BYTES:
            stem, suffix = name, ""
        free = name
        number = self._numbers.get((inner, name), 1)
        while (inner, name_key(free)) in self._taken:
            number += 1
            ending = f"-{number}{suffix}"
            free = _cut(stem, _NAME_BYTES - len(os.fsencode(ending))) + ending
        self._numbers[inner, name] = number
        self._taken.add((inner, name_key(free)))
        return free


def _cut(text: str, most: int) -> str:
    """Returns a file name without the end of it that is beyond a number of bytes."""
    content = os.fsencode(text)
    return text if len(content) <= most else content[:most].decode("utf-8", "ignore")


def _write_listing(path: Path, results: Sequence[dict[str, Any]]) -> None:
    own = [*(("level",) if any("level" in result for result in results) else ()), "file", "error"]
    rows = []
    for result in results:
        probability = prediction_cells(result["predictions"][0])[1] if "predictions" in result else ""
        label, withheld = answer_cells(result)
        rows.append([result["path"], label, probability, withheld, *(result.get(key, "") for key in own)])
    write_csv(path, ("photo", "label", "probability", "withheld", *own), rows)
