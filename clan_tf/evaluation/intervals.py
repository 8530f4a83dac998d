"""95 % intervals where the percentiles of resamples say too little: of biased figures, and at the end of a range."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

_NORMAL = 1.959964
"""Of a normal distribution, 95 % is within so many standard deviations."""


def bias_corrected(value: float, resampled: np.ndarray, lowest: float = 0.0) -> tuple[float, float]:
    """Computes an interval of a figure between `lowest` and 1 that isn't at either, from the bootstrap's resamples.

    Resamples of photos hold fewer different ones than the photos themselves, which shifts figures such as a mean of
    precisions: percentiles of the resamples may lie aside of the value. The resamples' mean tells by how much, and
    their standard deviation the width; on the scale of log odds the interval stays in the range and is the longer to
    the side that has more room. It always holds the value.

    Args:
        value: the figure of the photos.
        resampled: the figure of each resample, `(resamples,)`.
        lowest: the lower end of its range.

    Reference:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 5.2: the normal approximation with
        the bootstrap's estimate of the bias, on a transformed scale.
    """
    scale = 1 - lowest
    own, mean, deviation = (value - lowest) / scale, (resampled.mean() - lowest) / scale, resampled.std() / scale
    # Of few photos the bias may be larger than what is left to the end of the range.
    centre = np.clip(2 * own - mean, own / 2, (1 + own) / 2)
    half = _NORMAL * deviation / (centre * (1 - centre))
    low, high = lowest + scale * expit(logit(centre) + np.array([-half, half]))
    return min(float(low), value), max(float(high), value)


def area_interval(area: float, known: int, unknown: int) -> tuple[float, float]:
    """Computes an interval of an area under the ROC curve, also of one that is 0 or 1 or of very few photos.

    It holds the areas that the measured one is within 1.96 of their own standard errors of.

    Args:
        area: the measured one.
        known: number of photos that should have the higher scores.
        unknown: number of the others.

    Reference:
        Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2,
        Statistics in Medicine 25, 2006: method 5.
    """
    others = (known + unknown) / 2 - 1

    def distance(other: float) -> float:
        spread = other * (1 - other) * (1 + others * ((1 - other) / (2 - other) + other / (1 + other)))
        return (area - other) ** 2 - _NORMAL**2 * spread / (known * unknown)

    # At the value the distance is negative, at the ends of the range it isn't.
    low = brentq(distance, 0, area) if 0 < area < 1 else 0.0 if area == 0 else brentq(distance, 0, 1 - 1e-12)
    high = brentq(distance, area, 1) if 0 < area < 1 else 1.0 if area == 1 else brentq(distance, 1e-12, 1)
    return float(low), float(high)
