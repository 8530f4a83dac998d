"""PyTorch's side of a comparison, or why there is none. It imports torch only where it is used."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import tensorflow as tf

from clan_tf.benchmark.prepared import Prepared

if TYPE_CHECKING:
    from clan_tf.benchmark.torch_peer import TorchPeer


def open_peer(prepared: Prepared, training: bool) -> tuple["TorchPeer | None", str | None]:
    """Translates the model to PyTorch.

    Args:
        prepared: the model.
        training: whether training steps are measured, or predictions.

    Returns:
        The peer and `None`, or `None` and a note that says why there is none.
    """
    reason = why_no_peer(prepared, training)
    if reason is None:
        from clan_tf.benchmark.torch_layers import Untranslated
        from clan_tf.benchmark.torch_peer import TorchPeer

        try:
            return TorchPeer(prepared, training), None
        except Untranslated as error:
            reason = f"it has no translation of {error}"
    return None, f"PyTorch isn't measured: {reason}."


def why_no_peer(prepared: Prepared, training: bool) -> str | None:
    """Explains why PyTorch can't be measured, or returns `None`."""
    if not find_spec("torch"):
        return "it isn't installed (pip install torch)"
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"it can't be imported: {error}"
    if tf.config.list_logical_devices("GPU"):
        if not torch.cuda.is_available():
            return "TensorFlow has a GPU here, and PyTorch has none"
    recipe = prepared.experiment.training
    if training and recipe.precision == "mixed_float16":
        return "training.precision is mixed_float16, whose loss scaling isn't translated"
    others = {"training.ema": recipe.ema, "training.freeze_batch_norm": recipe.freeze_batch_norm}
    missing = [key for key, value in others.items() if value]
    if recipe.parts > 1:
        missing.append("training.accumulation")
    if training and missing:
        return f"its step would do less work ({', '.join(missing)})"
    return None
