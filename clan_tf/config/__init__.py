"""The experiment config: its sections, their keys, and how a config is read, checked and overridden."""

from clan_tf.config.data import AugmentationConfig, DataConfig
from clan_tf.config.experiment import Experiment, flatten
from clan_tf.config.loading import load_experiment, require_data_key, shipped_configs, shipped_presets, with_values
from clan_tf.config.methods import architectures_with, drop_ignored, ignored_keys
from clan_tf.config.model import ModelConfig
from clan_tf.config.sources import SOURCES
from clan_tf.config.training import LossWeightSchedule, ScheduleConfig, TrainingConfig

__all__ = [
    "SOURCES",
    "AugmentationConfig",
    "DataConfig",
    "Experiment",
    "LossWeightSchedule",
    "ModelConfig",
    "ScheduleConfig",
    "TrainingConfig",
    "architectures_with",
    "drop_ignored",
    "flatten",
    "ignored_keys",
    "load_experiment",
    "require_data_key",
    "shipped_configs",
    "shipped_presets",
    "with_values",
]
