"""Values that a model has for each of its branches, checked and completed."""

from collections.abc import Mapping, Sequence

from clan_tf import limits
from clan_tf.choices import COMBINED
from clan_tf.errors import UserError, nearest, shown


def full_loss_weights(given: Mapping[str, float] | None, branches: Sequence[str]) -> dict[str, float]:
    """Returns every branch's weight, 1 if not given (eqs. 12-14); raises a `UserError` for a wrong branch or weight."""
    given = dict(given or {})
    for name in given:
        if name not in branches:
            raise UserError(
                f"model.loss_weights: no branch {name!r}.{nearest(name, list(branches))} "
                f"This model's branches: {', '.join(branches)}."
            )
    weights = {branch: float(given.get(branch, 1.0)) for branch in branches}
    for name, weight in weights.items():
        if not 0 <= weight <= limits.LOSS_WEIGHT:
            raise UserError(
                f"model.loss_weights: {name} must be from 0 to {limits.LOSS_WEIGHT:,.0f}; received {weight}."
            )
    return weights


def full_temperatures(given: Mapping[str, float] | None, branches: Sequence[str]) -> dict[str, float]:
    """Returns every output's temperature, 1 if not given; raises a `ValueError` for another output or value."""
    outputs = (*branches, COMBINED)
    given = dict(given or {})
    for name, value in given.items():
        lowest, highest = 1 / limits.TEMPERATURE, limits.TEMPERATURE
        if name not in outputs or type(value) not in (int, float) or not lowest <= value <= highest:
            raise ValueError(
                f"`temperatures` must give outputs of the model, {', '.join(outputs)}, numbers from {lowest:g} to "
                f"{highest:g}. Received: {shown(name)}: {shown(value)}."
            )
    return {name: float(given.get(name, 1.0)) for name in outputs}
