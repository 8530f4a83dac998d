"""Unsure answers and photos of unknown classes, as a report shows them."""

from typing import Any

from clan_tf.evaluation import Selective, Unknown, rejection_text, risk_rows, score_rows, unknown_text


def describe_unsure(selective: Selective | None, unknown: Unknown | None) -> dict[str, Any] | None:
    """Returns the rows of both tables with a sentence each; `None` for an older evaluation."""
    if selective is None:
        return None
    others = {"rows": score_rows(unknown), "text": unknown_text(unknown), "photos": unknown.photos} if unknown else None
    return {"rows": risk_rows(selective), "text": rejection_text(selective), "unknown": others}
