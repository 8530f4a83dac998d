"""What to know of a model whose run isn't finished."""

from collections.abc import Callable

from clan_tf.errors import counted
from clan_tf.run.directory import RunDirectory


def note_unless_finished(run: RunDirectory | None, note: Callable[[str], None]) -> None:
    """Notes that a run's model isn't the one that it will end with, if so.

    Args:
        run: the run that a model belongs to, if any.
        note: called with the note.
    """
    if run is None or (status := run.read_status()["status"]) == "finished":
        return
    epochs = f", after {counted(len(run.read_metrics()), 'epoch')}" if run.metrics.is_file() else ""
    note(f"note: the run {run.path} is {status}{epochs}: this is its best model so far")
