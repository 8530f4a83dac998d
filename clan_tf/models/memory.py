"""Freeing the memory that a training run leaves allocated."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import keras
from tensorflow.python.framework.ops import gradient_registry


@contextmanager
def forgetting_graphs() -> Iterator[None]:
    """Frees the models and graphs that the block makes; they must not be used afterwards."""
    try:
        with forgetting_gradients():
            yield
    finally:
        keras.utils.clear_session(free_memory=True)
        gc.collect()


@contextmanager
def forgetting_gradients() -> Iterator[None]:
    """Frees the custom gradients that the block traces; its graphs must not be used afterwards.

    TensorFlow registers every custom gradient that it traces, and never removes one. Each holds the whole graph of the
    training step: that of the sum over devices in Keras' optimizers, and those of rematerialised attention. There is
    no public way to remove them, so this accesses the registry itself.
    """
    gradients = gradient_registry._registry
    known = set(gradients)
    try:
        yield
    finally:
        for name in gradients.keys() - known:
            del gradients[name]
