"""The level at which a photo's labels are given: the classes', a coarser one, or the finest that a model is sure of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clan_tf.errors import UserError
from clan_tf.taxonomy import AUTO_LEVEL, Taxonomy

SURE_FROM = 0.9
"""How probable a label must be for `auto` to be sure of it, unless another probability is given."""


class LevelChoice:
    """How photos are answered on the levels of a model's taxonomy.

    Args:
        taxonomy: the model's; `None` if it has none.
        level: the name of a level; or `auto` for the finest one on which the most probable label is at least as
            probable as `sure_from`, for each photo, and the coarsest if there is none.
        path: the model's file, for messages.
        sure_from: the probability, 0…1.

    Raises:
        UserError: if there is no such level, or `sure_from` isn't a probability.
    """

    def __init__(self, taxonomy: Taxonomy | None, level: str, path: Path, sure_from: float = SURE_FROM) -> None:
        if taxonomy is None:
            raise UserError(
                f"--level: {path} knows no levels above its classes. Train with a taxonomy: --set data.taxonomy=FILE."
            )
        if not 0 <= sure_from <= 1:
            raise UserError(f"unsure_below: must be a probability from 0 to 1; received {sure_from:g}.")
        self._taxonomy, self._sure_from = taxonomy, sure_from
        try:
            self._levels = [*range(len(taxonomy.levels))] if level == AUTO_LEVEL else [taxonomy.index(level)]
        except ValueError as error:
            raise UserError(f"--level: {path} has {error}, or {AUTO_LEVEL}.") from error
        self._labels = {index: taxonomy.labels(index) for index in self._levels}

    def answer(self, probabilities: np.ndarray) -> tuple[str, Sequence[str], np.ndarray]:
        """Chooses the level of one photo.

        Args:
            probabilities: of the classes, `(classes,)`.

        Returns:
            The level's name, its labels, and their probabilities `(labels,)`.
        """
        for level in self._levels:
            sums = self._taxonomy.probabilities(probabilities, level)
            # Written so that NaN is unsure.
            if sums.max() >= self._sure_from:
                break
        return self._taxonomy.levels[level], self._labels[level], sums
