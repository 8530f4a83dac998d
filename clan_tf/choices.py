"""Values of keys that rooms on several floors know, from the config to exported files."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

ResizeMode = Literal["stretch", "keep_aspect"]
"""`stretch` resizes a photo to a square; `keep_aspect` makes its shorter side the size."""
Combination = Literal["probabilities", "logits"]
"""What is averaged over the branches."""
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
