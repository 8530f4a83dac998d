"""Thresholds for a share of wrong answers: by hand, and whether the promise is kept."""

import re

import numpy as np
import pytest
from scipy.stats import binomtest

from clan_tf.models.selective_risk import RejectionFit, fit_rejection, lowest_threshold
from clan_tf.rejection import NEVER


def photos(scores: np.ndarray, wrong: np.ndarray, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose largest is the score, of class 0, and labels."""
    rest = (1 - scores) / (classes - 1)
    probabilities = np.column_stack([scores, *[rest] * (classes - 1)])
    return probabilities, np.where(wrong, 1, 0)


def test_all_answers_are_given_where_so_few_mistakes_show_it() -> None:
    scores = np.linspace(0.3, 0.9, 100)
    found = lowest_threshold(scores.astype("float32"), np.zeros(100, bool), 0.05)
    assert found and (found.threshold, found.photos, found.wrong) == (0, 100, 0)


def test_the_threshold_lies_just_above_the_photos_whose_errors_break_the_promise() -> None:
    """The 300 surest answers are right, the 100 others wrong: the largest number that passes is counted by hand."""
    scores = np.linspace(1, 0.3, 400).astype("float32")
    wrong = np.arange(400) >= 300
    found = lowest_threshold(scores, wrong, 0.05)
    assert found and found.photos >= 300 and found.wrong == found.photos - 300
    assert np.float32(found.threshold) == np.nextafter(scores[found.photos], np.float32(2))
    assert (scores >= np.float32(found.threshold)).sum() == found.photos
    # Tests begin at 400, 300, 225, 168, 126 and 94 photos: each is passed with a probability of 0.05 / 6.
    starts = 6
    assert binomtest(found.wrong, found.photos, 0.05, "less").pvalue <= 0.05 / starts
    assert binomtest(found.wrong + 1, found.photos + 1, 0.05, "less").pvalue > 0.05 / starts


def test_equally_probable_answers_are_given_or_withheld_together() -> None:
    scores = np.repeat([0.9, 0.6], 200).astype("float32")
    wrong = np.arange(400) >= 390
    found = lowest_threshold(scores, wrong, 0.03)
    assert found and found.photos == 200
    assert found.threshold == np.nextafter(np.float32(0.6), np.float32(2))


@pytest.mark.parametrize("steepness", [2.0, 8.0])
def test_the_promise_is_kept_for_19_of_20_samples(steepness: float) -> None:
    """The true error above each threshold is known: answers are right with a probability that grows with the score."""
    rng, aim, broken, given = np.random.default_rng(3), 0.1, 0, 0

    def right(score: np.ndarray) -> np.ndarray:
        return 1 - 0.4 * np.exp(-steepness * score)

    for _ in range(300):
        scores = rng.uniform(size=200)
        found = lowest_threshold(scores.astype("float32"), rng.uniform(size=200) > right(scores), aim)
        if found:
            given += 1
            broken += np.mean(1 - right(np.linspace(found.threshold, 1, 500))) > aim
    assert broken <= 0.05 * 300 + 10
    assert given >= (10 if steepness == 2 else 290)


def test_too_few_photos_or_too_many_mistakes_are_told_with_what_would_do() -> None:
    scores = np.linspace(0.3, 0.9, 100)
    few = fit_rejection(*photos(scores, scores < 0), 0.02)
    assert isinstance(few, str) and "at least 149 answers without a mistake show it" in few
    assert "there are 100 validation photos; 3 % would be reached" in few
    many = fit_rejection(*photos(scores, np.arange(100) % 2 == 0), 0.1)
    assert isinstance(many, str) and "none of the tests on 100 validation photos, 50 of them wrong, shows it" in many


def test_classes_with_enough_photos_have_their_own_threshold(rng: np.random.Generator) -> None:
    """Class 0 is always right; class 1 where it is sure; of classes 2 and 3 there are few photos."""
    predicted = np.repeat([0, 1, 2, 3], [100, 200, 30, 30])
    scores = rng.uniform(0.4, 1, 360)
    wrong = (predicted == 1) & (scores < 0.7)
    probabilities = np.full((360, 4), 0.0)
    probabilities[np.arange(360), predicted] = scores
    probabilities += ((1 - scores) / 3)[:, None] * (probabilities == 0)
    fit = fit_rejection(probabilities, np.where(wrong, 0, predicted), 0.1, per_class=True)
    assert isinstance(fit, RejectionFit) and fit.own == (0, 1) and fit.never == ()
    first, second, *rest = fit.rejection.thresholds
    assert first == 0 and 0.6 < second < 0.72 and rest == [0.0, 0.0]
    assert fit.accepted == (scores[predicted == 1] >= second).sum() + 160
    of_few = predicted < 3
    fit = fit_rejection(probabilities[of_few], np.where(wrong, 0, predicted)[of_few], 0.1, per_class=True)
    assert isinstance(fit, RejectionFit) and fit.never == (2, 3) and fit.rejection.thresholds[2:] == (NEVER, NEVER)


def test_the_aim_that_would_be_reached_by_class_is_reached(rng: np.random.Generator) -> None:
    predicted, scores = rng.integers(0, 3, 300), rng.uniform(0.4, 1, 300)
    probabilities = np.tile(((1 - scores) / 4)[:, None], (1, 3))
    probabilities[np.arange(300), predicted] = scores
    labels = np.where(rng.random(300) < 0.15, (predicted + 1) % 3, predicted)
    why = fit_rejection(probabilities, labels, 0.05, per_class=True)
    assert isinstance(why, str)
    (reached,) = re.findall(r"; (\d+) % would be reached", why)
    assert isinstance(fit_rejection(probabilities, labels, int(reached) / 100, per_class=True), RejectionFit)
    assert isinstance(fit_rejection(probabilities, labels, (int(reached) - 1) / 100, per_class=True), str)


def test_the_promise_by_class_is_kept_for_all_classes_together(rng: np.random.Generator) -> None:
    """Sixty classes that are all a little worse than the aim: hardly a sample may find an answer to give."""
    classes, each, found = 60, 80, 0
    for _ in range(40):
        predicted = np.repeat(np.arange(classes), each)
        scores = rng.uniform(0.5, 1, len(predicted))
        probabilities = np.zeros((len(predicted), classes))
        probabilities[np.arange(len(predicted)), predicted] = scores
        wrong = rng.uniform(size=len(predicted)) < 0.06
        labels = np.where(wrong, (predicted + 1) % classes, predicted)
        found += isinstance(fit_rejection(probabilities, labels, 0.05, per_class=True), RejectionFit)
    assert found <= 5
