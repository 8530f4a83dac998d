"""When an answer is withheld, and what a file may say of it."""

import numpy as np
import pytest

from clan_tf.rejection import NEVER, Rejection, checked_rejection


def test_an_answer_needs_the_threshold_of_its_class() -> None:
    probabilities = np.array([[0.6, 0.4], [0.2, 0.8], [0.5, 0.5], [0.3, 0.7], [np.nan, 0.9]], "float32")
    assert Rejection(0.1, (0.6,)).accepts(probabilities).tolist() == [True, True, False, True, False]
    # Of equal probabilities the first class is the answer.
    assert Rejection(0.1, (0.5, 0.75)).accepts(probabilities).tolist() == [True, True, True, False, False]
    assert Rejection(0.1, (0.0,)).accepts(probabilities[:4]).all()
    assert not Rejection(0.1, (NEVER,)).accepts(np.array([[1.0, 0.0]], "float32")).any()


def test_one_photo_is_accepted_as_a_batch_is(rng: np.random.Generator) -> None:
    probabilities, rejection = rng.dirichlet(np.ones(4), 20), Rejection(0.1, (0.5, 0.4, 0.6, 0.7))
    assert [bool(rejection.accepts(row)) for row in probabilities] == rejection.accepts(probabilities).tolist()


def test_what_a_file_says_is_checked() -> None:
    assert checked_rejection(None, None, 3) is None and checked_rejection(None, [], 3) is None
    assert checked_rejection(0.05, [0.5], 3) == Rejection(0.05, (0.5,))
    assert checked_rejection(0.05, [0, 0.5, NEVER], 3) == Rejection(0.05, (0.0, 0.5, NEVER))


@pytest.mark.parametrize(
    ("accept_error", "thresholds", "message"),
    [
        (0, [0.5], "accept_error must be a number between 0 and 1; received 0"),
        ("0.1", [0.5], "accept_error must be a number"),
        (None, [0.5], "accept_error must be a number between 0 and 1; received None"),
        (float("nan"), [0.5], "accept_error must be a number"),
        (0.1, [0.5, 0.5], "thresholds must be a list of 1 or 3 numbers"),
        (0.1, "0.5", "thresholds must be a list"),
        (0.1, None, "thresholds must be a list"),
        (0.1, [1.5], "thresholds must be from 0 to 1.0000001; received 1.5"),
        (0.1, [float("nan")], "thresholds must be from 0"),
        (0.1, [True], "thresholds must be from 0"),
    ],
)
def test_what_no_rejection_is_is_refused(accept_error: object, thresholds: object, message: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        checked_rejection(accept_error, thresholds, 3)
    assert message in str(error.value)
