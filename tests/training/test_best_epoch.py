"""Which epoch's model is kept: accuracy as far as the validation photos can tell, and then the loss."""

from clan_tf.training.best_epoch import ACCURACY, LOSS, is_better
from clan_tf.training.state import TrainingState


def best(photos: int, *epochs: tuple[float, float]) -> int:
    """The epoch that is kept after these accuracies and losses."""
    rows = [{ACCURACY: accuracy, LOSS: loss} for accuracy, loss in epochs]
    kept = 0
    for number, row in enumerate(rows[1:], start=1):
        highest = max(each[ACCURACY] for each in rows[: number + 1])
        kept = number if is_better(row, rows[kept], highest, photos) else kept
    return kept + 1


def test_with_few_photos_the_lower_loss_of_equally_good_epochs_decides() -> None:
    """Of 100 photos, 90 and 88 right are within the standard error of 3; of 10,000 they aren't."""
    epochs = [(0.5, 2.0), (0.9, 0.9), (0.88, 0.6), (0.89, 0.7)]
    assert best(100, *epochs) == 3
    assert best(10_000, *epochs) == 2


def test_an_epoch_that_is_clearly_more_accurate_is_better_whatever_its_loss() -> None:
    assert best(100, (0.8, 0.5), (0.9, 0.8)) == 2


def test_the_lowest_loss_does_not_lead_away_from_the_highest_accuracy_step_by_step() -> None:
    """Each is within the standard error of the one before, the last isn't within that of the first."""
    assert best(100, (0.9, 1.0), (0.88, 0.9), (0.86, 0.8)) == 2


def test_what_was_kept_is_no_longer_good_enough_once_the_highest_accuracy_rises() -> None:
    """0.89 isn't kept, because of its loss; 0.86 is out of reach of 0.9."""
    epochs = [(0.86, 0.5), (0.89, 0.6), (0.9, 0.7)]
    assert best(100, *epochs[:2]) == 1
    assert best(100, *epochs) == 3


def test_of_equal_epochs_the_first_is_kept() -> None:
    assert best(10, (0.9, 1.0), (0.9, 1.0)) == 1
    assert best(10, (1.0, 1.0), (0.9, 0.1), (1.0, 0.9)) == 3


def test_states_from_before_the_best_epoch_was_written_down_have_that_of_the_highest_accuracy() -> None:
    rows = [{ACCURACY: accuracy, LOSS: 1.0} for accuracy in (0.5, 0.9, 0.7, 0.9)]
    assert TrainingState(step=8, rows=rows).best == 2
    assert TrainingState(step=8, rows=rows, best=3).best == 3
    assert TrainingState().best == 0
