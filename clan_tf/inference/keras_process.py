"""Runs a `.keras` file in a process as `clan_tf.runtime.worker_process` runs exported ones, for fair comparison."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from clan_tf.runtime.worker_process import Arrays, answer_requests


def open_keras(path: str, threads: int) -> Callable[[np.ndarray], Arrays]:
    """Makes a function from photos to the combined probabilities of a `.keras` file."""
    import tensorflow as tf

    from clan_tf.models import load_model

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = load_model(Path(path))
    serve = tf.function(lambda photos: model(photos, training=False)["combined"], autograph=False)
    return lambda photos: {"probabilities": serve(photos).numpy()}


if __name__ == "__main__":
    answer_requests("clan_tf.models", open_keras)
