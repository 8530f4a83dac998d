"""Which epoch's model a run keeps."""

from collections.abc import Mapping
from math import sqrt

ACCURACY, LOSS = "val_combined_accuracy", "val_loss"


def is_better(row: Mapping[str, float], kept: Mapping[str, float], highest: float, photos: int) -> bool:
    """Returns whether an epoch's model is better than the one that is kept, by the validation photos.

    With few photos the highest accuracy is a matter of chance, and often that of an epoch in which the learning rate
    was still high. So accuracies within one standard error of the highest, `sqrt(a · (1 - a) / photos)`, are equal, and
    among those the lower loss is better.

    Args:
        row: the metrics of the epoch that has just ended: `ACCURACY`, of the combined prediction, 0…1, and `LOSS`, the
            weighted sum over the branches.
        kept: those of the epoch whose model is kept.
        highest: the highest accuracy of all epochs so far.
        photos: the number of validation photos.

    Reference:
        The one-standard-error rule: Breiman et al., Classification and Regression Trees, 1984, section 3.4.3.
    """
    enough = highest - sqrt(highest * (1 - highest) / photos)
    return row[ACCURACY] >= enough and (kept[ACCURACY] < enough or row[LOSS] < kept[LOSS])
