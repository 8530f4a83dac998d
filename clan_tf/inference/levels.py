"""The level at which a photo's labels are given: the classes', a coarser one, or the finest that a model is sure of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clan_tf.errors import UserError
from clan_tf.rejection import Rejection
from clan_tf.taxonomy import AUTO_LEVEL, Taxonomy

SURE_FROM = 0.9
"""How probable a label must be for `auto` to be sure of it, unless another probability is given."""


class LevelChoice:
    """How photos are answered on the levels of a model's taxonomy.

    Args:
        taxonomy: the model's; `None` if it has none.
        level: the name of a level; or `auto` for the finest one whose most probable label is an answer, for each photo,
            and the coarsest if there is none.
        path: the model's file, for messages.
        rejection: when a label is an answer; for `auto`, with a probability of 0.9 if `None`, for others always.

    Raises:
        UserError: if there is no such level.
    """

    def __init__(self, taxonomy: Taxonomy | None, level: str, path: Path, rejection: Rejection | None = None) -> None:
        if taxonomy is None:
            raise UserError(
                f"--level: {path} knows no levels above its classes. Train with a taxonomy: --set data.taxonomy=FILE."
            )
        if rejection is None and level == AUTO_LEVEL:
            rejection = Rejection(None, (SURE_FROM,))
        self._taxonomy, self._of_classes = taxonomy, rejection
        self._of_groups = rejection.of_groups() if rejection else None
        try:
            self._levels = [*range(len(taxonomy.levels))] if level == AUTO_LEVEL else [taxonomy.index(level)]
        except ValueError as error:
            raise UserError(f"--level: {path} has {error}, or {AUTO_LEVEL}.") from error
        self._labels = {index: taxonomy.labels(index) for index in self._levels}

    def answer(self, probabilities: np.ndarray) -> tuple[str, Sequence[str], np.ndarray, bool]:
        """Chooses the level of one photo.

        Args:
            probabilities: of the classes, `(classes,)`.

        Returns:
            The level's name, its labels, their probabilities `(labels,)`, and whether the most probable is an answer.
        """
        for level in self._levels:
            sums = self._taxonomy.probabilities(probabilities, level)
            rejection = self._of_groups if level else self._of_classes
            is_answer = rejection is None or bool(rejection.accepts(sums))
            if is_answer:
                break
        return self._taxonomy.levels[level], self._labels[level], sums, is_answer
