"""How good a model is on a split of its data: numbers, tables and pictures."""

from clan_tf.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
