"""The memory that a training run leaves behind."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import keras
from tensorflow.python.framework.ops import gradient_registry


@contextmanager
def forgetting_graphs() -> Iterator[None]:
    """Frees the models and graphs that the block makes; nothing of them may be used after it.

    TensorFlow registers every custom gradient that it traces, and never takes one back. Each holds the whole graph of
    the training step: that of the sum over devices in Keras' optimizers, and those of rematerialised attention. There
    is no public way to remove them, so this looks into the registry itself.
    """
    gradients = gradient_registry._registry
    known = set(gradients)
    try:
        yield
    finally:
        for name in gradients.keys() - known:
            del gradients[name]
        keras.utils.clear_session(free_memory=True)
        gc.collect()
