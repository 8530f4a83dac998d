"""Which epoch's model a run keeps."""

from collections.abc import Mapping, Sequence
from math import sqrt

ACCURACY, LOSS = "val_combined_accuracy", "val_loss"


def best_epoch(rows: Sequence[Mapping[str, float]], photos: int) -> int:
    """Returns the epoch, from 1, of the best model so far by the validation photos; 0 before the first ends.

    With few photos the highest accuracy is a matter of chance, and often that of an epoch in which the learning rate
    was still high. So accuracies within one standard error of the highest, `sqrt(a · (1 - a) / photos)`, are equal,
    and among those the lower loss is better. A model is compared with the one kept before it, so that an epoch either
    becomes the best when it ends or never.

    Args:
        rows: the metrics of each epoch, with `ACCURACY`, 0…1, and `LOSS`.
        photos: the number of validation photos.

    Reference:
        The one-standard-error rule: Breiman et al., Classification and Regression Trees, 1984, section 3.4.3.
    """
    best, highest = 0, 0.0
    for epoch, row in enumerate(rows, start=1):
        highest = max(highest, row[ACCURACY])
        enough = highest - sqrt(highest * (1 - highest) / photos)
        kept = rows[best - 1]
        if not best or (row[ACCURACY] >= enough and (kept[ACCURACY] < enough or row[LOSS] < kept[LOSS])):
            best = epoch
    return best
