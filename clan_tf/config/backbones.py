"""What users need to know about backbones before they choose one, without starting Keras.

`backbones.csv` is made from the networks by `python tests/tools/write_backbones.py`.
"""

import csv
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class BackboneFacts:
    """A row of `backbones.csv`.

    Attributes:
        parameters: the number that training changes, without the heads, as `clan-tf summary` counts them.
        imagenet: where ImageNet weights come from, such as `Keras`; empty if there are none.
        preprocessing: Keras' name of the preprocessing that its weights expect; `none` if it is within the backbone.
        mid: the mid-level layers or aliases that 2 and 3 scales tap, from shallow to deep.
    """

    parameters: int
    imagenet: str
    preprocessing: str
    mid: dict[int, tuple[str, ...]]


def known_backbones() -> dict[str, BackboneFacts]:
    """Returns the values of `model.backbone`, with what is known about each."""
    text = resources.files("clan_tf.config").joinpath("backbones.csv").read_text(encoding="utf-8")
    return {
        row["name"]: BackboneFacts(
            int(row["parameters"]),
            row["imagenet"],
            row["preprocessing"],
            {scales: tuple(row[f"mid_of_{scales}"].split()) for scales in (2, 3)},
        )
        for row in csv.DictReader(text.splitlines())
    }
