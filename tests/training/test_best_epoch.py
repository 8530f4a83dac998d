"""Which epoch's model is kept: the last that is as accurate as the validation photos can tell."""

from clan_tf.training.best_epoch import ACCURACY, is_as_good
from clan_tf.training.state import TrainingState


def kept(photos: int, *accuracies: float) -> int:
    """The epoch, from 1, that is kept in the end."""
    best = 0
    for epoch, accuracy in enumerate(accuracies, start=1):
        best = epoch if is_as_good(accuracy, max(accuracies[:epoch]), photos) else best
    return best


def test_the_last_of_the_epochs_within_the_standard_error_of_the_highest_is_kept() -> None:
    """Of 100 photos 0.9 has an error of 0.03, of 10,000 photos 0.003."""
    accuracies = (0.5, 0.9, 0.88, 0.86)
    assert kept(100, *accuracies) == 3
    assert kept(10_000, *accuracies) == 2


def test_it_does_not_lead_away_from_the_highest_step_by_step() -> None:
    assert kept(100, 0.9, 0.88, 0.865, 0.85) == 2


def test_a_clearly_higher_accuracy_ends_what_counted_as_equal() -> None:
    assert kept(100, 0.84, 0.86, 0.95, 0.9) == 3


def test_nothing_but_the_same_equals_a_perfect_accuracy_and_the_first_epoch_is_kept_whatever_it_is() -> None:
    assert kept(10, 1.0, 0.9, 1.0, 0.9) == 3
    assert kept(10, 0.0) == kept(10, 0.4) == 1


def test_states_from_before_the_best_epoch_was_written_down_have_that_of_the_highest_accuracy() -> None:
    rows = [{ACCURACY: accuracy} for accuracy in (0.5, 0.9, 0.7, 0.9)]
    assert TrainingState(step=8, rows=rows).best == 2
    assert TrainingState(step=8, rows=rows, best=3).best == 3
    assert TrainingState().best == 0
