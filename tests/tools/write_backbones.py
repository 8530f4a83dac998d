"""Writes `clan_tf/config/backbones.csv`, from which `clan-tf list backbones` prints, from the networks themselves.

`python tests/tools/write_backbones.py` builds every backbone once, without weights. To be run when a row of
`clan_tf/models/backbones.py` changes; `tests/models/test_backbones.py` fails until then.
"""

import csv
import os
import sys
from math import prod
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras

from clan_tf.models import BACKBONES
from clan_tf.models.backbones import BackboneSpec, build_backbone
from clan_tf.models.packaged_weights import WeightsPackage

FILE = Path(__file__).parents[2] / "clan_tf" / "config" / "backbones.csv"
COLUMNS = ("name", "parameters", "imagenet", "preprocessing", "mid_of_2", "mid_of_3")


def facts(spec: BackboneSpec) -> tuple[str, ...]:
    """The columns that the table of backbones has itself."""
    imagenet = spec.imagenet
    origin = imagenet.distribution if isinstance(imagenet, WeightsPackage) else "Keras" if imagenet else ""
    return (origin, spec.preprocessing, " ".join(spec.mid[2]), " ".join(spec.mid[3]))


def parameters(model: keras.Model) -> int:
    """Counts what training changes, as the paper's Table 5 does."""
    return sum(prod(weight.shape) for weight in model.trainable_weights)


def main() -> None:
    rows = []
    for name, spec in BACKBONES.items():
        rows.append((name, parameters(build_backbone(name, 64)), *facts(spec)))
        keras.backend.clear_session()
        print(*rows[-1], file=sys.stderr)
    with FILE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()
