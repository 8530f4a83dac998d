"""The interface of every model that predicts photos, regardless of the runtime."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clan_tf.errors import CheckFailed, UserError, nearest
from clan_tf.photos import read_photo
from clan_tf.progress import Progress
from clan_tf.rejection import Rejection
from clan_tf.taxonomy import Taxonomy

if TYPE_CHECKING:
    from clan_tf.data.checked_photos import CheckedPhotos


class Predictor(ABC):
    """An opened model that predicts photos; a context manager.

    Attributes:
        path: the name for messages and tables.
        class_names: the labels, in the order of the probabilities.
        taxonomy: groups of the classes at ever coarser levels; `None` if the model has none.
        branches: the branches whose own probabilities it returns.
        chosen: the branches that `answers` combines.
        temperature: what the logits of their combination are divided by.
        rejection: when this combination is no answer; `None` if it always is one.
        lost_rejection: why the threshold of the model doesn't hold for these branches; `None` if it does or has none.
        batch_size: how many views `probabilities` is best given at a time.
    """

    path: Path
    class_names: Sequence[str]
    taxonomy: Taxonomy | None
    branches: tuple[str, ...]
    chosen: tuple[str, ...]
    temperature: float
    rejection: Rejection | None
    lost_rejection: str | None
    batch_size: int

    def read(self, photo: Path) -> np.ndarray:
        """Reads a photo file as model input, uint8 RGB.

        Raises:
            PhotoError: if the file can't be read, with the reason.
        """
        return self.view(read_photo(photo))

    @abstractmethod
    def view(self, photo: np.ndarray) -> np.ndarray:
        """Prepares a whole upright photo, uint8 RGB `(height, width, 3)`, as model input."""

    @abstractmethod
    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Computes combined probabilities `(views, classes)` of at least one view.

        Raises:
            CheckFailed: if a Keras model outputs NaN.
            UserError: if an exported file fails to run.
        """

    @abstractmethod
    def answers(self, checked: "CheckedPhotos", progress: Progress) -> dict[str, np.ndarray]:
        """Computes probabilities `(photos, classes)` of each branch in `branches`, and `combined` for the chosen ones.

        Raises:
            CheckFailed: if a Keras model outputs NaN.
            UserError: if an exported file fails to run.
        """

    def close(self) -> None:
        """Releases resources, such as the process of an exported file."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def choose_branches(
    available: Sequence[str], names: Sequence[str] | None, weights: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Selects the branches to combine, each once; all with a weight above 0 in `weights` if `names` is `None`.

    Raises:
        UserError: for a name that isn't a branch.
    """
    for name in names or ():
        if name not in available:
            raise UserError(
                f"--branches: no branch {name!r}.{nearest(name, list(available))} "
                f"This model's branches: {', '.join(available)}."
            )
    if names:
        return tuple(dict.fromkeys(names))
    return tuple(name for name in available if weights is None or weights[name] > 0)


def rejection_of(
    chosen: Sequence[str], usual: Sequence[str], rejection: Rejection | None
) -> tuple[Rejection | None, str | None]:
    """Returns when a combination of branches is no answer, or why a model's threshold doesn't hold for it.

    Args:
        chosen: the branches that are combined.
        usual: those that the model combines, to which its threshold was fitted.
        rejection: the model's.
    """
    if rejection is None or set(chosen) == set(usual):
        return rejection, None
    return None, (
        f"every answer is given: the model withholds those without {rejection}, but this holds for the branches "
        f"{', '.join(usual)} together, not for {', '.join(chosen)}."
    )


def require_finite_answers(path: Path, answers: dict[str, np.ndarray]) -> None:
    """Raises a `CheckFailed` if any output holds NaN: finite weights may overflow."""
    wrong = [name for name, values in answers.items() if not np.isfinite(values).all()]
    if wrong:
        raise CheckFailed(
            f"{path}: the model outputs NaN ({', '.join(wrong)}); its weights are damaged or too large. "
            "Take another checkpoint, or train again."
        )
