"""Values of keys that rooms on several floors know, from the config to exported files."""

from typing import Any, Literal

ResizeMode = Literal["stretch", "keep_aspect"]
"""`stretch` resizes a photo to a square; `keep_aspect` makes its shorter side the size."""
Combination = Literal["probabilities", "logits"]
"""What is averaged over the branches."""
BEFORE: dict[str, Any] = {"mid_pooling": "avg", "head_batch_norm": False}
"""Choices that models of before they could be chosen had: what a model file or a run's config that lacks them means."""
