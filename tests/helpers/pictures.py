"""Training without pictures, where a test looks at none: drawing them takes a third of the time of a tiny run."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clan_tf import plots
from clan_tf.training import start_files


@contextmanager
def without_pictures() -> Iterator[None]:
    """The pictures of runs are empty files while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save_figure", lambda figure, path: path.touch())
        # Photos as the model sees them take a pipeline of their own.
        patch.setattr(start_files, "write_augmented_samples", lambda checked, names, experiment, path: path.touch())
        yield
