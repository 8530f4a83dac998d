"""Class probabilities of photos by models that weren't fitted to them."""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from clan_tf.errors import UserError
from clan_tf.in_parallel import in_parallel
from clan_tf.progress import Progress

C = 0.01
"""Inverse strength of the L2 penalty on standardised features. With `TOLERANCE` it stops after a few steps, which suits
wrong labels better than the exact minimum."""
TOLERANCE, MOST_STEPS = 1e-2, 100


def judging_folds(labels: np.ndarray, units: Sequence[str], folds: int) -> np.ndarray:
    """Distributes photos over folds, each class evenly; those of one unit are in one fold.

    Args:
        labels: int `(photos,)`.
        units: what photos that belong together share, such as copies of the same bytes (`unit_keys`).
        folds: their number; fewer are made if no class has as many different photos.

    Returns:
        The fold of each photo, int `(photos,)`, the same for the same photos.

    Raises:
        UserError: if no class has two different photos.
    """
    _, first, unit = np.unique(np.asarray(units), return_index=True, return_inverse=True)
    folds = min(folds, int(np.bincount(labels[first]).max()))
    if folds < 2:
        raise UserError("No class has two different photos, of which one could be judged by the other. Add photos.")
    fold = np.empty(len(first), dtype="int64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer photos than folds
        parts = StratifiedKFold(folds, shuffle=True, random_state=0).split(first, labels[first])
        for number, (_, held_out) in enumerate(parts):
            fold[held_out] = number
    return fold[unit]


def out_of_fold_probabilities(
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, progress: Progress
) -> np.ndarray:
    """Predicts the photos of each fold by multinomial logistic regression fitted to those of all others.

    Args:
        features: float32 `(photos, channels)`.
        labels: int `(photos,)`, 0 to `classes - 1`, each of which occurs.
        folds: the fold of each photo, int `(photos,)`.
        progress: where progress is shown.

    Returns:
        Float64 `(photos, classes)`. A class without photos in the other folds has probability 0.
    """
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))

    def predict(fold: int) -> None:
        held_out = folds == fold
        known, seen = labels[~held_out], np.unique(labels[~held_out])
        if len(seen) == 1:
            probabilities[held_out, seen] = 1.0
            return
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, tol=TOLERANCE, max_iter=MOST_STEPS))
        model.fit(features[~held_out], known)
        probabilities[np.ix_(held_out, seen)] = model.predict_proba(features[held_out])

    numbers = range(int(folds.max()) + 1)
    # The folds share the cores: the products of one are too small for several threads.
    with (
        progress.track("fitting folds", len(numbers)) as advance,
        threadpool_limits(1),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        for done in in_parallel(predict, numbers):
            done.result()
            advance()
    return probabilities
