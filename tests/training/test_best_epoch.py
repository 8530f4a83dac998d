"""Which epoch counts as the best: accuracy as far as the validation photos can tell, and then the loss."""

from itertools import pairwise

import numpy as np
import pytest

from clan_tf.training.best_epoch import ACCURACY, LOSS, best_epoch


def best(photos: int, *epochs: tuple[float, float]) -> int:
    return best_epoch([{ACCURACY: accuracy, LOSS: loss} for accuracy, loss in epochs], photos)


def test_there_is_no_best_epoch_before_the_first_ends() -> None:
    assert best(10) == 0
    assert best(10, (0.0, 3.0)) == 1


def test_with_few_photos_the_lower_loss_of_equally_good_epochs_decides() -> None:
    """Of 100 photos, 90 and 88 right are within the standard error of 3."""
    epochs = [(0.5, 2.0), (0.9, 0.9), (0.88, 0.6), (0.89, 0.7)]
    assert best(100, *epochs) == 3
    assert best(10_000, *epochs) == 2, "of 10,000 they aren't"


def test_an_epoch_that_is_clearly_more_accurate_is_better_whatever_its_loss() -> None:
    assert best(100, (0.8, 0.5), (0.9, 0.8)) == 2


def test_the_lowest_loss_does_not_lead_away_from_the_highest_accuracy_step_by_step() -> None:
    """Each is within the standard error of the one before, the last isn't within that of the first."""
    assert best(100, (0.9, 1.0), (0.88, 0.9), (0.86, 0.8)) == 2


def test_what_was_kept_is_no_longer_good_enough_once_the_highest_accuracy_rises() -> None:
    """0.84 lost to 0.86 by its loss alone; 0.89 was never kept; with 0.9 the kept one is out of reach."""
    epochs = [(0.86, 0.5), (0.89, 0.6), (0.9, 0.7)]
    assert best(100, *epochs[:2]) == 1
    assert best(100, *epochs) == 3


@pytest.mark.parametrize("photos", [20, 200, 2000])
def test_the_best_of_more_epochs_is_the_same_or_the_last(photos: int, rng: np.random.Generator) -> None:
    """So that its file can be kept when the epoch ends."""
    epochs = [(float(rng.integers(0, photos + 1) / photos), float(rng.uniform(0, 2))) for _ in range(60)]
    chosen = [best(photos, *epochs[:count]) for count in range(1, 61)]
    assert all(after in (before, count) for count, (before, after) in enumerate(pairwise(chosen), start=2))
    assert len(set(chosen)) > 2
