"""Where photos and labels come from: one file per source, and what all sources share."""

from clan_tf.data.sources.read import SOURCE_READERS, list_source, place_of, read_folds, read_source, survey_source
from clan_tf.data.sources.source import ALL, SPLITS, Box, Photo, Source, Span

__all__ = [
    "ALL",
    "SOURCE_READERS",
    "SPLITS",
    "Box",
    "Photo",
    "Source",
    "Span",
    "list_source",
    "place_of",
    "read_folds",
    "read_source",
    "survey_source",
]
