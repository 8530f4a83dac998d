"""Training: the recipe, one loop for one device and for many, and resuming it exactly."""

from clan_tf.training.train import TrainingData, TrainingResult, prepare_data, train

__all__ = ["TrainingData", "TrainingResult", "prepare_data", "train"]
