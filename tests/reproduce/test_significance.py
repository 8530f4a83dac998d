"""The p-value against brute force and other tests of significance."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from clan_tf.reproduce.significance import paired_p_value


def test_the_p_value_equals_the_share_of_all_sign_patterns(rng: np.random.Generator) -> None:
    own, other = rng.random((3, 9)) < 0.8, rng.random((3, 9)) < 0.5
    differences = own.sum(axis=0).astype(int) - other.sum(axis=0).astype(int)
    patterns = np.array(list(itertools.product([-1, 1], repeat=9)))
    sums = patterns @ np.abs(differences)
    assert paired_p_value(own, other) == pytest.approx(float((np.abs(sums) >= abs(differences.sum())).mean()))


def test_with_one_seed_the_p_value_is_mcnemars(rng: np.random.Generator) -> None:
    own, other = rng.random((1, 400)) < 0.85, rng.random((1, 400)) < 0.75
    better, worse = int((own & ~other).sum()), int((~own & other).sum())
    expected = binomtest(better, better + worse, 0.5).pvalue
    assert paired_p_value(own, other) == pytest.approx(expected)
    assert paired_p_value(own, own) == 1.0


def test_more_seeds_of_the_same_answers_are_no_more_evidence(rng: np.random.Generator) -> None:
    own, other = rng.random((1, 200)) < 0.85, rng.random((1, 200)) < 0.75
    assert paired_p_value(np.repeat(own, 4, 0), np.repeat(other, 4, 0)) == pytest.approx(paired_p_value(own, other))
