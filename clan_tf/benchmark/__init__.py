"""How fast photos are prepared, and how fast networks train and predict, beside PyTorch.

Nothing is imported before it is used: the workers of the PyTorch pipeline import this room and need no TensorFlow.
"""

from typing import TYPE_CHECKING

from clan_tf.lazy import lazy_names

if TYPE_CHECKING:
    from clan_tf.benchmark.data import DataBenchmark, Rate, benchmark_data

__all__ = ["DataBenchmark", "Rate", "benchmark_data"]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "clan_tf.benchmark.data"))
