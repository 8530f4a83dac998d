"""Intervals by hand."""

import math
from collections.abc import Sequence
from statistics import fmean, pstdev


def corrected_by_hand(value: float, resampled: Sequence[float], lowest: float) -> tuple[float, float]:
    """The bias-corrected normal interval on the scale of log odds, of a figure from `lowest` to 1."""
    own, drawn = (value - lowest) / (1 - lowest), [(each - lowest) / (1 - lowest) for each in resampled]
    centre = own - (fmean(drawn) - own)
    half = 1.96 * pstdev(drawn) / (centre * (1 - centre))
    ends = [math.log(centre / (1 - centre)) + sign * half for sign in (-1, 1)]
    low, high = (lowest + (1 - lowest) / (1 + math.exp(-end)) for end in ends)
    return min(low, value), max(high, value)
