"""Values of keys that rooms on several floors know, from the config to exported files."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

ResizeMode = Literal["stretch", "keep_aspect"]
"""`stretch` resizes a photo to a square; `keep_aspect` makes its shorter side the size."""
Combination = Literal["probabilities", "logits"]
"""What is averaged over the branches."""
Calibration = Literal["none", "temperature"]
"""How probabilities are made to mean what they say, after training."""
COMBINED = "combined"
"""The name of the branches' combination, beside theirs."""
MidPooling = Literal["avg", "max"]
"""Pooling over the positions of a mid-level map."""
FORMER_DEFAULTS: dict[str, Any] = {
    "spatial_batch_norm": False,
    "mid_pooling": "avg",
    "head_batch_norm": False,
    "combination": "probabilities",
}
"""What a key that is missing means in model files and runs' configs that were written before it existed."""


def chosen_weights(branches: Sequence[str], weights: Mapping[str, float]) -> tuple[float, ...] | None:
    """Returns the weights of some branches in their combination, or `None` if they are equal.

    Args:
        branches: which are combined.
        weights: of all branches. Where only branches of weight 0 are combined, they are equal.
    """
    chosen = tuple(float(weights[branch]) for branch in branches)
    return chosen if len(set(chosen)) > 1 else None


def temperature_of(branches: Sequence[str], temperatures: Mapping[str, float]) -> float:
    """Returns what the logits of some branches' combination are divided by: of a single one, its own temperature.

    Args:
        branches: which are combined.
        temperatures: by branch, and `combined`; 1 where none is given.
    """
    return temperatures.get(branches[0] if len(branches) == 1 else COMBINED, 1.0)
