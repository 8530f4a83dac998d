"""clan-tf: fine-grained photo classification with the Cross-layer Attention Network, in Keras 3 and TensorFlow.

Names are imported when they are first used, so that `import clan_tf` and `clan-tf --help` are instant. So Keras doesn't
know the classes before one is used: `keras.models.load_model` needs `import clan_tf.models` first, and
`clan_tf.load_model` doesn't.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "CLAN": "clan_tf.models",
    "CrossLayerContextAttention": "clan_tf.layers",
    "CrossLayerSpatialAttention": "clan_tf.layers",
    "Experiment": "clan_tf.config",
    "Explainer": "clan_tf.explain",
    "NonLocalBlock": "clan_tf.layers",
    "Plain": "clan_tf.models",
    "complexity": "clan_tf.models",
    "evaluate": "clan_tf.evaluation",
    "explain_photos": "clan_tf.explain",
    "load_experiment": "clan_tf.config",
    "load_model": "clan_tf.model_files",
    "predict": "clan_tf.prediction",
    "train": "clan_tf.training",
    "write_report": "clan_tf.report",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clan_tf' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
