"""clan-tf: fine-grained photo classification with the Cross-layer Attention Network, in Keras 3 and TensorFlow.

Names are imported when they are first used, so that `import clan_tf` and `clan-tf --help` are instant. So Keras doesn't
know the classes before one is used: `keras.models.load_model` needs `import clan_tf.models` first, and
`clan_tf.load_model` doesn't.
"""

from typing import TYPE_CHECKING

from clan_tf.lazy import lazy_names

if TYPE_CHECKING:
    from clan_tf.config import Experiment, load_experiment
    from clan_tf.data import experiment_for_folder
    from clan_tf.evaluation import calibrate, evaluate
    from clan_tf.explain import Explainer, explain_photos
    from clan_tf.inference import predict
    from clan_tf.layers import (
        AttentionSampler,
        BilinearPooling,
        ClassAverage,
        CompactBilinearPooling,
        CrossLayerContextAttention,
        CrossLayerSpatialAttention,
        FilterAttention,
        GroupBilinear,
        LowRankBilinear,
        MeanAttention,
        NonLocalBlock,
        OneSqueezeMultiExcitation,
        PartAttention,
        PowerNormalization,
        SquareCrop,
        SquareMap,
        SquareProposal,
        TrilinearAttention,
        WeightedAverage,
    )
    from clan_tf.models import (
        BCNN,
        CBP,
        CLAN,
        DBT,
        DFB,
        LRBP,
        MACNN,
        MAMC,
        RACNN,
        TASN,
        Ensemble,
        Plain,
        complexity,
        load_model,
    )
    from clan_tf.report import write_report
    from clan_tf.training import train

__all__ = [
    "BCNN",
    "CBP",
    "CLAN",
    "DBT",
    "DFB",
    "LRBP",
    "MACNN",
    "MAMC",
    "RACNN",
    "TASN",
    "AttentionSampler",
    "BilinearPooling",
    "ClassAverage",
    "CompactBilinearPooling",
    "CrossLayerContextAttention",
    "CrossLayerSpatialAttention",
    "Ensemble",
    "Experiment",
    "Explainer",
    "FilterAttention",
    "GroupBilinear",
    "LowRankBilinear",
    "MeanAttention",
    "NonLocalBlock",
    "OneSqueezeMultiExcitation",
    "PartAttention",
    "Plain",
    "PowerNormalization",
    "SquareCrop",
    "SquareMap",
    "SquareProposal",
    "TrilinearAttention",
    "WeightedAverage",
    "calibrate",
    "complexity",
    "evaluate",
    "experiment_for_folder",
    "explain_photos",
    "load_experiment",
    "load_model",
    "predict",
    "train",
    "write_report",
]
_ROOMS = {
    "clan_tf.config": ("Experiment", "load_experiment"),
    "clan_tf.data": ("experiment_for_folder",),
    "clan_tf.evaluation": ("calibrate", "evaluate"),
    "clan_tf.explain": ("Explainer", "explain_photos"),
    "clan_tf.inference": ("predict",),
    "clan_tf.layers": (
        "AttentionSampler",
        "BilinearPooling",
        "ClassAverage",
        "CompactBilinearPooling",
        "CrossLayerContextAttention",
        "CrossLayerSpatialAttention",
        "FilterAttention",
        "GroupBilinear",
        "LowRankBilinear",
        "MeanAttention",
        "NonLocalBlock",
        "OneSqueezeMultiExcitation",
        "PartAttention",
        "PowerNormalization",
        "SquareCrop",
        "SquareMap",
        "SquareProposal",
        "TrilinearAttention",
        "WeightedAverage",
    ),
    "clan_tf.models": (
        "BCNN",
        "CBP",
        "CLAN",
        "DBT",
        "DFB",
        "LRBP",
        "MACNN",
        "MAMC",
        "RACNN",
        "TASN",
        "Ensemble",
        "Plain",
        "complexity",
        "load_model",
    ),
    "clan_tf.report": ("write_report",),
    "clan_tf.training": ("train",),
}
__getattr__, __dir__ = lazy_names(__name__, {name: room for room, names in _ROOMS.items() for name in names})
