"""The data of an experiment: its sources, the check before training, and the `tf.data` pipeline."""

from clan_tf.data.sources import (
    ALL,
    SPLITS,
    Photo,
    Source,
    list_source,
    place_of,
    read_folds,
    read_source,
    survey_source,
)
from clan_tf.data.starting import experiment_for_folder

__all__ = [
    "ALL",
    "SPLITS",
    "Photo",
    "Source",
    "experiment_for_folder",
    "list_source",
    "place_of",
    "read_folds",
    "read_source",
    "survey_source",
]
