"""A run: its directory, the photos that it uses, and the split that it wrote of them.

What needs TensorFlow is imported when it is first used, so that a model's run is found without it.
"""

from typing import TYPE_CHECKING

from clan_tf.lazy import lazy_names
from clan_tf.run.directory import Outcome, RunDirectory, find_run_above, is_run
from clan_tf.run.evaluation_folder import EvaluationFolder
from clan_tf.run.nearest import nearest_run

if TYPE_CHECKING:
    from clan_tf.run.data import RunData, read_model_data, read_run_data, read_run_split

__all__ = [
    "EvaluationFolder",
    "Outcome",
    "RunData",
    "RunDirectory",
    "find_run_above",
    "is_run",
    "nearest_run",
    "read_model_data",
    "read_run_data",
    "read_run_split",
]
__getattr__, __dir__ = lazy_names(
    __name__, dict.fromkeys(("RunData", "read_model_data", "read_run_data", "read_run_split"), "clan_tf.run.data")
)
