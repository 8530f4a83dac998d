"""Values of keys that rooms on several floors know, from the config to exported files."""

from typing import Literal

ResizeMode = Literal["stretch", "keep_aspect"]
"""`stretch` resizes a photo to a square; `keep_aspect` makes its shorter side the size."""
Combination = Literal["probabilities", "logits"]
"""What is averaged over the branches."""
