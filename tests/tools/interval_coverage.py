"""How often 95 % intervals of an evaluation hold what they estimate, on made-up answers.

`python tests/tools/interval_coverage.py [--runs 200]` draws samples of photos whose answers are right with a known
probability, and otherwise one of all other classes. For each design and each figure over all classes it prints the
share of the samples whose interval holds the figure of infinitely many such photos: percentiles of the resamples,
these mirrored at the value ("basic"), and clan-tf's. Then the same of the AUROC of few unknown photos with normal
scores.
"""

import argparse

import numpy as np
import quietly  # noqa: F401
from scipy.special import ndtr

from clan_tf.evaluation.confusion import confusion_figures, estimated_figures, resampled_sums
from clan_tf.evaluation.metrics import Estimate
from clan_tf.evaluation.unknown import _area, auroc

DESIGNS = [
    *[(f"{classes} x {photos}", np.full(classes, photos)) for classes, photos in ((20, 30), (100, 10), (200, 29))],
    ("500 x 4", np.full(500, 4)),
    ("100, 193 to 2", np.round(193 / np.arange(1, 101)).astype(int)),
]
FIGURES = (
    "balanced_accuracy",
    "macro_precision",
    "macro_f1",
    "weighted_precision",
    "weighted_f1",
    "matthews_correlation",
)
KINDS = ("percentile", "basic", "clan-tf")


def main() -> None:
    """Parses the arguments and prints a line for each design."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    print("classes x photos, accuracy, numbers of photos:", *FIGURES, f"({', '.join(KINDS)})", sep=" | ")
    for name, photos in DESIGNS:
        for accuracy in (0.8, 0.95):
            for is_drawn in (False, True):
                held = coverage(photos, accuracy, is_drawn, runs)
                cells = [" ".join(f"{held[figure][kind] / runs:.2f}" for kind in KINDS) for figure in FIGURES]
                print(f"{name}, {accuracy}, {'drawn' if is_drawn else 'fixed'}:", *cells, sep=" | ", flush=True)
    for unknown in (1, 3, 10, 29, 100):
        print(f"AUROC of 60 known and {unknown} unknown photos (percentile, clan-tf):", *area_coverage(unknown, runs))


def coverage(photos: np.ndarray, accuracy: float, is_drawn: bool, runs: int) -> dict[str, dict[str, int]]:
    """Counts the samples whose interval holds the true figure.

    Args:
        photos: of each class, `(classes,)`.
        accuracy: of each class.
        is_drawn: whether the numbers of photos are drawn with these as their means, or are always these.
        runs: number of samples.
    """
    rng, classes, total = np.random.default_rng(0), len(photos), int(photos.sum())
    taken = accuracy * photos + (1 - accuracy) * (total - photos) / (classes - 1)
    true = confusion_figures(*(1e6 * each for each in (photos, taken, accuracy * photos)))
    held = {figure: dict.fromkeys(KINDS, 0) for figure in FIGURES}
    for _ in range(runs):
        own = rng.choice(classes, total, p=photos / total) if is_drawn else np.repeat(np.arange(classes), photos)
        wrong = (own + rng.integers(1, classes, total)) % classes
        predicted = np.where(rng.random(total) < accuracy, own, wrong)
        sums = np.concatenate([*resampled_sums(own, predicted, classes, None)])
        drawn = confusion_figures(*np.moveaxis(sums, 1, 0))
        for figure, estimate in estimated_figures(own, predicted, classes).items():
            if figure in held:
                low, high = np.percentile(drawn[figure], (2.5, 97.5))
                mirrored = (2 * estimate.value - high, 2 * estimate.value - low)
                for kind, ends in zip(KINDS, ((low, high), mirrored, (estimate.low, estimate.high)), strict=True):
                    held[figure][kind] += bool(ends[0] <= true[figure] <= ends[1])
    return held


def area_coverage(unknown: int, runs: int) -> tuple[float, float]:
    """Returns the shares of the samples whose interval holds the area: percentiles of resamples, and clan-tf's."""
    rng, true, held = np.random.default_rng(0), float(ndtr(1.5 / 2**0.5)), [0, 0]
    is_known = np.r_[np.ones(60), np.zeros(unknown)]
    for _ in range(runs):
        scores = np.r_[rng.normal(1.5, 1, 60), rng.normal(0, 1, unknown)]
        by_percentiles = Estimate.of(auroc, is_known, scores, strata=(60, unknown))
        for place, one in enumerate((by_percentiles, _area(scores[:60], scores[60:]))):
            held[place] += one.low is not None and one.low <= true <= one.high
    return held[0] / runs, held[1] / runs


if __name__ == "__main__":
    main()
