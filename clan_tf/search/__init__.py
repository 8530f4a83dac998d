"""Searching an experiment's choices with KerasTuner, which is in the extra `search`."""

from clan_tf.errors import UserError

try:
    import keras_tuner  # noqa: F401
except ImportError as error:
    raise UserError("clan-tf search needs KerasTuner: pip install 'clan-tf[search]'") from error
