"""Which epoch's model a run keeps."""

from math import sqrt

ACCURACY = "val_combined_accuracy"


def is_as_good(accuracy: float, highest: float, photos: int) -> bool:
    """Returns whether an epoch's model replaces the one that is kept: whether it may be as accurate as the best so far.

    With few validation photos the highest accuracy is a matter of chance, and often that of an epoch in which the
    learning rate was still high. So accuracies within one standard error of the highest, `sqrt(a · (1 - a) / photos)`,
    count as equal, and the last of equal epochs is kept: it has learned longest, and at the lowest rate.

    Args:
        accuracy: the combined prediction's accuracy in the epoch that has just ended, 0…1.
        highest: the highest accuracy of all epochs so far, this one included.
        photos: the number of validation photos.

    Reference:
        The one-standard-error rule: Breiman et al., Classification and Regression Trees, 1984, section 3.4.3.
    """
    return accuracy >= highest - sqrt(highest * (1 - highest) / photos)
