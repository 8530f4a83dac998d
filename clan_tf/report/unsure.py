"""Unsure answers and photos of unknown classes, as a report shows them."""

from typing import Any

from clan_tf.evaluation import Selective, Unknown, rejection_text, risk_rows, score_rows, unknown_text


def describe_unsure(
    selective: Selective | None, unknown: Unknown | None, configured: float | None
) -> dict[str, Any] | None:
    """Returns the rows of both tables with a sentence each; `None` for an older evaluation.

    Args:
        selective: the error if unsure answers are withheld.
        unknown: what the model does with photos of unknown classes.
        configured: `training.accept_error`.
    """
    if selective is None:
        return None
    others = {"rows": score_rows(unknown), "text": unknown_text(unknown), "photos": unknown.photos} if unknown else None
    text = rejection_text(selective)
    if selective.rejection and selective.rejection.accept_error != configured:
        text += " This threshold is from clan-tf calibrate, after the training that the configuration describes."
    return {"rows": risk_rows(selective), "text": text, "unknown": others}
