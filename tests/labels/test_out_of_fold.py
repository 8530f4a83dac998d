"""Predictions of photos by models that weren't fitted to them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from clan_tf.errors import UserError
from clan_tf.labels.out_of_fold import C, judging_folds, out_of_fold_probabilities
from clan_tf.progress import Progress

LABELS = np.repeat([0, 1, 2], [20, 11, 3])
CONTENTS = [f"photo {number}" for number in range(len(LABELS))]


def test_every_class_is_spread_over_the_folds() -> None:
    folds = judging_folds(LABELS, CONTENTS, 5)
    counts = np.array([np.bincount(folds[LABELS == label], minlength=5) for label in range(3)])
    assert counts[0].tolist() == [4] * 5
    assert (np.ptp(counts, axis=1) <= 1).all()


def test_folds_follow_from_the_photos_alone() -> None:
    assert judging_folds(LABELS, CONTENTS, 5).tolist() == judging_folds(LABELS, CONTENTS, 5).tolist()


def test_copies_are_in_one_fold_whatever_their_labels() -> None:
    copied = [*CONTENTS[:17], *CONTENTS[:17]]
    folds = judging_folds(LABELS, copied, 5)
    assert folds[:17].tolist() == folds[17:].tolist()


def test_there_are_no_more_folds_than_photos_of_a_class() -> None:
    assert judging_folds(np.array([0, 0, 1, 1, 1]), list("abcde"), 5).max() == 2


def test_classes_of_single_photos_are_refused() -> None:
    with pytest.raises(UserError, match="two different photos"):
        judging_folds(np.array([0, 0, 1]), ["a", "a", "b"], 5)


def test_probabilities_are_those_of_a_model_that_never_saw_the_fold(rng: np.random.Generator) -> None:
    features = (rng.normal(size=(34, 6)) + 2 * LABELS[:, None]).astype("float32")
    folds = judging_folds(LABELS, CONTENTS, 3)
    found = out_of_fold_probabilities(features, LABELS, folds, Progress())
    for fold in range(3):
        inside, outside = features[folds == fold].astype("float64"), features[folds != fold].astype("float64")
        mean, deviation = outside.mean(axis=0), outside.std(axis=0)
        exact = LogisticRegression(C=C, max_iter=1000).fit((outside - mean) / deviation, LABELS[folds != fold])
        np.testing.assert_allclose(found[folds == fold], exact.predict_proba((inside - mean) / deviation), atol=0.02)


def test_a_class_that_other_folds_lack_has_probability_zero(rng: np.random.Generator) -> None:
    features = rng.normal(size=(6, 4)).astype("float32")
    labels, folds = np.array([0, 1, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 0, 0])
    found = out_of_fold_probabilities(features, labels, folds, Progress())
    assert found[folds == 0, 2].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_one_class_in_the_other_folds_is_certain(rng: np.random.Generator) -> None:
    found = out_of_fold_probabilities(
        rng.normal(size=(3, 4)).astype("float32"), np.array([0, 0, 1]), np.array([0, 1, 1]), Progress()
    )
    assert found[1:].tolist() == [[1, 0], [1, 0]]
