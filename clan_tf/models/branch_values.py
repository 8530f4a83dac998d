"""Values that a model has for each of its branches, checked and completed."""

from collections.abc import Mapping, Sequence

from clan_tf import limits
from clan_tf.choices import COMBINED
from clan_tf.errors import UserError, nearest, shown
from clan_tf.models.arguments import is_number


def full_loss_weights(given: Mapping[str, float] | None, branches: Sequence[str]) -> dict[str, float]:
    """Returns every branch's weight, 1 if not given (eqs. 12-14); raises a `UserError` for a wrong branch or weight."""
    given = dict(given or {})
    for name in given:
        if name not in branches:
            raise UserError(
                f"model.loss_weights: no branch {name!r}.{nearest(name, list(branches))} "
                f"This model's branches: {', '.join(branches)}."
            )
    for name, weight in given.items():
        if not (is_number(weight) and 0 <= weight <= limits.LOSS_WEIGHT):
            raise UserError(
                f"model.loss_weights: {name} must be from 0 to {limits.LOSS_WEIGHT:,.0f}; received {shown(weight)}."
            )
    return {branch: float(given.get(branch, 1.0)) for branch in branches}


def full_temperatures(
    given: Mapping[str, float] | None, branches: Sequence[str], combined: Sequence[str]
) -> dict[str, float]:
    """Returns every output's temperature, 1 if not given.

    Where a single branch is combined, both outputs are the same, and so are their temperatures.

    Args:
        given: by output: a branch, or `combined`.
        branches: the model's branches.
        combined: those that are combined.

    Raises:
        ValueError: for another output, a value that isn't a number from 0.01 to 100, or two for the same output.
    """
    outputs = (*branches, COMBINED)
    given = dict(given or {})
    lowest, highest = 1 / limits.TEMPERATURE, limits.TEMPERATURE
    for name, value in given.items():
        if name not in outputs or not is_number(value) or not lowest <= value <= highest:
            raise ValueError(
                f"`temperatures` must give outputs of the model, {', '.join(outputs)}, numbers from {lowest:g} to "
                f"{highest:g}. Received: {shown(name)}: {shown(value)}."
            )
    if len(combined) == 1:
        same = {given[name] for name in (*combined, COMBINED) if name in given}
        if len(same) > 1:
            raise ValueError(
                f"`temperatures` must be the same for {combined[0]} and {COMBINED}, which is that branch alone. "
                f"Received: {shown(given)}"
            )
        given |= dict.fromkeys((*combined, COMBINED), *same) if same else {}
    return {name: float(given.get(name, 1.0)) for name in outputs}
