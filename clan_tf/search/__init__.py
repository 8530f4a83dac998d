"""Searching an experiment's hyperparameters with KerasTuner, from the extra `search`."""

from clan_tf.errors import UserError

try:
    import keras_tuner  # noqa: F401
except ImportError as error:
    raise UserError("clan-tf search needs KerasTuner: pip install 'clan-tf[search]'") from error

from clan_tf.search.estimate import SearchPlan, plan_search
from clan_tf.search.search import SearchOutcome, search
from clan_tf.search.space import SearchConfig, load_search

__all__ = ["SearchConfig", "SearchOutcome", "SearchPlan", "load_search", "plan_search", "search"]
