"""Whether the spatial attention of trained models is alive: neither open nor closed everywhere, nor even.

`python tests/tools/attention_maps.py RUN …` prints the mean of each mid-level map over all test photos, and its
deviation over the positions of a photo, averaged over the photos; it exits with 1 if a mean isn't from 0.1 to 0.9, or a
deviation is at most 0.05.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from clan_tf.data.pipeline import PhotoReader, evaluation_batches
from clan_tf.evaluation.photos import check_noted
from clan_tf.inference.keras_predictor import ProbabilityFunction
from clan_tf.inference.views import view_of_model
from clan_tf.models import CLAN, load_model
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory, read_model_data

LOWEST, HIGHEST, LEAST_DEVIATION = 0.1, 0.9, 0.05


@dataclass(frozen=True)
class MapStatistics:
    """Of one attention map: its mean over many photos, and its deviation over the positions of a photo on average."""

    mean: float
    deviation: float

    @property
    def is_alive(self) -> bool:
        return LOWEST <= self.mean <= HIGHEST and self.deviation > LEAST_DEVIATION


def map_statistics(model: CLAN, batches: Iterable, photos: int) -> dict[str, MapStatistics]:
    """Statistics of every attention map, by its feature's name, over the photos of `evaluation_batches`."""
    names = [name for name in model.features if name.startswith("attention_")]
    maps = ProbabilityFunction(model.with_outputs(names))(batches, photos) if names else {}
    return {
        name: MapStatistics(float(values.mean()), float(values.std(axis=(1, 2)).mean()))
        for name, values in maps.items()
    }


def of_run(path: Path, split: str = "test") -> dict[str, MapStatistics]:
    run = RunDirectory(path)
    model, progress = load_model(run.best), Progress()
    data = read_model_data(run, run.experiment(), None, None)
    checked = check_noted(data, split, data.photos(split), progress)
    batches = evaluation_batches(PhotoReader(checked, view_of_model(model)), checked.labels, 32)
    return map_statistics(model, batches, len(checked.photos))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    failed = False
    for path in parser.parse_args().runs:
        for name, each in of_run(path).items():
            failed |= not each.is_alive
            state = "alive" if each.is_alive else "NOT ALIVE"
            print(f"{path.name:40} {name:18} mean {each.mean:.3f}  deviation {each.deviation:.3f}  {state}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
