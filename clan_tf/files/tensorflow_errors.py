"""TensorFlow's errors of files that can't be written, as the `OSError`s that Python raises for its own files."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NUMBERS = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)}
_MESSAGE = re.compile(rf"(?:\{{\{{.*?\}}\}} *)?(?P<path>.*?); (?P<reason>{'|'.join(map(re.escape, _NUMBERS))})")
"""How TensorFlow puts it, `PATH; REASON`, perhaps after the name of a node in double braces."""


def writing_error(error: BaseException) -> OSError | None:
    """Returns what an error of TensorFlow says of a full or read-only disk; `None` if it says nothing of the kind.

    A full disk is a `tf.errors.ResourceExhaustedError`, as is a lack of memory: only the message tells them apart.
    """
    found = _MESSAGE.match(str(getattr(error, "message", "")))
    return OSError(_NUMBERS[found["reason"]], found["reason"], found["path"]) if found else None


@contextmanager
def written_by_tensorflow(path: Path | None = None) -> Iterator[None]:
    """Turns such errors in the block into an `OSError`.

    Args:
        path: what the error names, where TensorFlow writes to temporary files; the file that it named itself if `None`.
    """
    try:
        yield
    except Exception as error:
        if (found := writing_error(error)) is None:
            raise
        raise OSError(found.errno, found.strerror, str(path or found.filename)) from error
