"""Training: the recipe, one loop for one device and for many, and resuming it exactly."""

from clan_tf.training.train import TrainingResult, train
from clan_tf.training.training_data import TrainingData, are_prepared_alike, prepare_data

__all__ = ["TrainingData", "TrainingResult", "are_prepared_alike", "prepare_data", "train"]
