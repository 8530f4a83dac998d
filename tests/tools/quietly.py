"""Imported first, it imports TensorFlow as the command does: sooner, and without its noise."""

from clan_tf.cli.console import quiet_tensorflow

quiet_tensorflow()
