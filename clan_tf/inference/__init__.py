"""A MODEL of any kind and its answers.

Keras models need TensorFlow, exported files don't; so Keras predictors are imported when they are first used.
"""

from clan_tf.inference.locate import find_model
from clan_tf.inference.predict import predict

__all__ = ["find_model", "predict"]
