"""The experiment that photos without a config start with: a preset, with what follows from the photos themselves."""

import math
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clan_tf.config import DataConfig, Experiment, flatten, with_values
from clan_tf.config.loading import experiment_from, read_preset, values_of
from clan_tf.data.sources import list_source, read_folds, survey_source
from clan_tf.errors import UserError
from clan_tf.text import is_address

DEFAULT_PRESET = "fast"
_LAYOUTS: Mapping[str, Sequence[str]] = {
    "cub": ("image_class_labels.txt",),
    "cars": ("cars_annos.mat", "devkit/cars_meta.mat", "car_devkit/devkit/cars_meta.mat"),
    "aircraft": ("variants.txt", "data/variants.txt", "fgvc-aircraft-2013b/data/variants.txt"),
    "csv": ("photos.csv",),
    "records": ("dataset_info.json",),
}
"""A file in the folder that tells each source; class folders have none."""
_SEEN_PHOTOS, _FEWEST_EPOCHS, _MOST_EPOCHS = 8_000, 8, 40


def experiment_for_folder(
    folder: str | Path, overrides: Sequence[str] = (), preset: str = DEFAULT_PRESET
) -> Experiment:
    """Makes the experiment that `clan-tf train FOLDER` trains.

    The run is named after the folder, and the source follows from the files in it: class folders, with or without
    splits, unless a file tells one of the official layouts, a table or a pack, or `data.csv` names a table. Unless they
    are overridden, the number of epochs follows from the number of train photos (`epochs_for`), and a batch holds no
    more photos than there are: where the splits are still to be cut, no more than nearly every cut leaves.

    Args:
        folder: the folder.
        overrides: `section.key=value` texts, as in `load_experiment`.
        preset: the name of a preset, for the model and the recipe.

    Raises:
        UserError: for an unknown preset, mistakes in the overrides, or a folder whose photos can't be listed.
    """
    root, given = Path(folder), dict(flatten(values_of(overrides)))
    source = given.get("data.source") or ("csv" if given.get("data.csv") else source_in(root))
    return _started(folder, name_for(root), {"source": source, "root": str(root)}, overrides, preset)


def experiment_for_data(overrides: Sequence[str], preset: str = DEFAULT_PRESET) -> Experiment:
    """Makes the experiment of the data that overrides name, without a config: that of a folder, wherever they name one.

    With a table alone, `data.csv`, its paths are relative to its folder. The run is named after the table, or after its
    folder if it is called `photos.csv`; that of a data set of TensorFlow Datasets, after the data set.

    Args:
        overrides: `section.key=value` texts with `data.root`, `data.csv` or `data.source`, as in `load_experiment`.
        preset: the name of a preset, for the model and the recipe.

    Raises:
        UserError: as `experiment_for_folder` does.
    """
    given = dict(flatten(values_of(overrides)))
    root, table, source = (given.get(f"data.{key}") for key in ("root", "csv", "source"))
    if isinstance(source, str) and source.startswith("tfds:"):
        return _started(source, name_for(Path(source.removeprefix("tfds:"))), {}, overrides, preset)
    if isinstance(root, str) and not is_address(root):
        return experiment_for_folder(os.path.expanduser(root), overrides, preset)
    if table:
        path = Path(os.path.expanduser(str(table)))
        name = name_for(path.absolute().parent if path.name == "photos.csv" else path.parent / path.stem)
        return _started(table, name, {"source": "csv"}, overrides, preset)
    # No other source that a user writes is read from another file system.
    usual = {"source": "records"} if root else {}
    return _started(str(root or source), name_for(Path(str(root or source))), usual, overrides, preset)


def _started(
    named: str | Path, name: str, data: Mapping[str, Any], overrides: Sequence[str], preset: str
) -> Experiment:
    """Makes the experiment of a preset on some data, with epochs and a batch that follow from the train photos."""
    values = read_preset(preset)
    values["name"] = name
    values.setdefault("data", {}).update(data)
    overridden = dict(flatten(values_of(overrides)))
    experiment = experiment_from(values, overrides, named)
    photos, fewest = _train_photos(experiment.data)
    chosen: dict[str, int] = {}
    if "training.epochs" not in overridden:
        chosen["training.epochs"] = epochs_for(photos)
    if "training.batch_size" not in overridden and 0 < fewest < experiment.training.batch_size:
        unit = experiment.batch_unit
        chosen["training.batch_size"] = max(1, fewest // unit) * unit
    return with_values(experiment, chosen)


def epochs_for(photos: int) -> int:
    """Returns how many epochs a number of train photos is trained for: 8 to 40, for about 8,000 photos in all."""
    return min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, round(_SEEN_PHOTOS / max(1, photos))))


def name_for(folder: Path) -> str:
    """Returns a folder's name as one for runs: letters without accents, digits, `.`, `_` and `-`."""
    plain = re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFKD", os.path.basename(os.path.realpath(folder))))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.")[:100]
    return name or "photos"


def source_in(folder: Path) -> str:
    """Returns the `data.source` that the files in a folder tell: `folders` unless there is one of another layout."""
    found = [source for source, files in _LAYOUTS.items() if any((folder / file).is_file() for file in files)]
    if len(found) > 1:
        files = " and ".join(next(file for file in _LAYOUTS[source] if (folder / file).is_file()) for source in found)
        raise UserError(
            f"{folder}: holds {files}, so that it may be {' or '.join(found)}. Say which: data.source={found[0]}."
        )
    return found[0] if found else "folders"


def _train_photos(data: DataConfig) -> tuple[int, int]:
    """Returns about how many train photos there will be, and the fewest to expect, from a list of the files alone.

    Photos are cut by their content, each for itself, so that their number varies like that of tosses of a coin; the
    fewest are three standard deviations below the mean. Groups and folds are cut here as they will be for training.
    """
    if data.folds:
        numbers = [len(source.splits["train"]) for source in read_folds(data, data.folds)]
        return min(numbers), min(numbers)
    if data.group:
        photos = len(survey_source(data).splits["train"])
        return photos, photos
    splits = list_source(data).splits
    share = data.fraction
    share *= 1.0 if splits.get("test") else 1 - data.test_fraction
    share *= 1.0 if splits.get("val") else 1 - data.validation_fraction
    listed = len(splits["train"])
    mean = listed * share
    fewest = mean - 3 * math.sqrt(mean * (1 - share))
    return int(mean), min(listed, max(1, int(fewest)))
