"""The levels of a taxonomy, as a report shows them."""

from typing import Any

from clan_tf.evaluation import Levels, accuracy_rows, mean_height_text, severity_rows


def describe_levels(levels: Levels | None) -> dict[str, Any] | None:
    """Returns the rows of both tables, and the sentence on the mean height; `None` without a taxonomy."""
    if levels is None:
        return None
    return {
        "accuracy": accuracy_rows(levels),
        "severity": severity_rows(levels),
        "mean_height": mean_height_text(levels),
    }
