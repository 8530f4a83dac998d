"""How a failing training run is reported and recorded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import tensorflow as tf

from clan_tf.config import TrainingConfig
from clan_tf.config.section import AUTO
from clan_tf.data.sources.content import plain_message
from clan_tf.errors import CheckFailed, ProcessLost
from clan_tf.files import written_by_tensorflow
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files, step_of
from clan_tf.text import command_line

_OUTER_SENTENCE: ContextVar[str | None] = ContextVar("_OUTER_SENTENCE", default=None)


@contextmanager
def recording(run: RunDirectory, is_new: bool, is_made: bool, progress: Progress) -> Iterator[None]:
    """Records how the run ended if it fails; removes what a new run wrote if it has no results.

    Args:
        run: the run directory.
        is_new: whether the run is new rather than resumed.
        is_made: whether this process made the folder, which is then removed, too, unless it holds other files.
        progress: where a stop is reported.
    """
    try:
        yield
    except BaseException as error:
        if is_new and not has_results(run):
            run.remove_start()
            if is_made:
                with suppress(OSError):  # it holds other files
                    run.path.rmdir()
            raise
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        if stopped:
            progress.note(f"Stopped.{how_to_resume(run)}")
        with suppress(OSError):  # the disk may be full
            run.write_status("stopped" if stopped else "failed", reason=str(error) or type(error).__name__)
        raise


@contextmanager
def explained(
    several_processes: bool, way_out: Callable[[], str] = str, memory_advice: Callable[[], str] = str
) -> Iterator[None]:
    """Turns failures of a training run into a `CheckFailed` that names the cause and the remedy.

    Args:
        several_processes: whether others train with this one.
        way_out: gives the end of each message.
        memory_advice: gives what needs less memory.
    """
    try:
        with written_by_tensorflow():  # such as events for TensorBoard
            yield
    except OSError as error:
        raise CheckFailed(f"{error.filename or 'file'}: {error.strerror or error}.{way_out()}") from error
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise CheckFailed(f"Out of memory.{memory_advice()}{way_out()}") from error
    except tf.errors.OpError as error:
        if several_processes and isinstance(error, _LOST):
            raise ProcessLost(
                f"Another process of this run ended or can't be reached ({type(error).__name__}). Start all of "
                f"them again.{way_out()}"
            ) from error
        if not isinstance(error, _UNREADABLE) or _NEXT_BATCH not in error.message:
            raise
        raise CheckFailed(f"A photo can no longer be read: {plain_message(error)}.{way_out()}") from error


def less_memory(training: TrainingConfig) -> str:
    """Returns a sentence with the settings that need less memory than a run's own."""
    parts, size = 2 * training.parts, training.batch_size
    if size == AUTO or size % parts == 0:
        return f" Compute each batch in {parts} parts: --set training.accumulation={parts}."
    return f" Take smaller batches or photos: training.batch_size (it is {size}), data.image_size."


def how_to_resume(run: RunDirectory) -> str:
    """Returns a sentence with the command that resumes a run; empty if there is no checkpoint."""
    if not state_files(run.checkpoints):
        return ""
    command = command_line("clan-tf", "train", "--run-dir", run.path, "--resume")
    sentence = _OUTER_SENTENCE.get()
    return f" Resume with: {command}" if sentence is None else sentence and f" {sentence}"


@contextmanager
def resumed_as_part(sentence: str) -> Iterator[None]:
    """Makes `how_to_resume` say how the whole is resumed of which the runs in the block are parts.

    Args:
        sentence: what it says in place of the command for one run; nothing if it is empty.
    """
    token = _OUTER_SENTENCE.set(sentence)
    try:
        yield
    finally:
        _OUTER_SENTENCE.reset(token)


def has_results(run: RunDirectory) -> bool:
    """Returns whether the run holds anything that took time to compute."""
    return run.best.is_file() or any(step_of(path) for path in state_files(run.checkpoints))


_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
_NEXT_BATCH = "IteratorGetNext"
"""The operation that reads photos: in the messages of its errors, also where several devices read."""
_UNREADABLE = (
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.PermissionDeniedError,
    tf.errors.InvalidArgumentError,
)
