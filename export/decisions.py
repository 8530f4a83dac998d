"""What files decide from their probabilities: the most probable class, and whether it is an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clan_tf.rejection import Rejection
from clan_tf.runtime import are_in_top
from clan_tf.runtime.exported import ACCEPTED, LABEL_IDS, PROBABILITIES


@dataclass(frozen=True)
class Withholding:
    """What the reject option does with the answers of the Keras model and of a file, on the same photos.

    Attributes:
        keras_coverage: share of photos that the Keras model answers, 0…1.
        keras_error: share of wrong ones among its answers; `None` if it gives none.
        coverage: share of photos that the file answers.
        error: share of wrong ones among its answers; `None` if it gives none.
    """

    keras_coverage: float
    keras_error: float | None
    coverage: float
    error: float | None


def withholding(rejection: Rejection, expected: np.ndarray, answers: np.ndarray, labels: np.ndarray) -> Withholding:
    """Computes what a rejection does with the probabilities `(photos, classes)` of a model and of a file."""
    return Withholding(
        *_coverage_and_error(rejection, expected, labels), *_coverage_and_error(rejection, answers, labels)
    )


def _coverage_and_error(
    rejection: Rejection, probabilities: np.ndarray, labels: np.ndarray
) -> tuple[float, float | None]:
    given = rejection.accepts(probabilities)
    right = are_in_top(labels, probabilities, 1)
    return float(given.mean()), 1 - float(right[given].mean()) if given.any() else None


def wrong_decisions(
    answers: Mapping[str, np.ndarray], signatures: Sequence[str], rejection: Rejection | None
) -> list[str]:
    """Returns a sentence for each output of a SavedModel that doesn't follow from the probabilities beside it.

    Args:
        answers: the outputs, as from `ExportedPredictor.outputs`; NaN for photos that weren't sent.
        signatures: the further signatures.
        rejection: when the most probable class is no answer; `None` if it always is one.
    """
    failures = []
    for name in ("", *signatures):
        probabilities = answers[name or PROBABILITIES]
        asked = ~np.isnan(probabilities).any(axis=1)
        expected = {LABEL_IDS: probabilities[asked].argmax(axis=1)}
        if rejection:
            expected[ACCEPTED] = rejection.accepts(probabilities[asked])
        for output, values in expected.items():
            found = answers.get(f"{name}.{output}" if name else output)
            of = f"{output!r} of {name or 'serving_default'}"
            if found is None:
                failures.append(f"the output {of} is missing")
            elif found.shape != asked.shape or not np.array_equal(found[asked], values):
                failures.append(f"{of} doesn't follow from the probabilities beside it")
    return failures
