"""TensorFlow's errors of full and read-only disks, in the words that it uses for them."""

import errno
from pathlib import Path

import pytest
import tensorflow as tf

from clan_tf.files import writing_error, written_by_tensorflow

NODE = "{{function_node __wrapped__SaveV2_dtypes_2_device_/job:localhost/replica:0/task:0/device:CPU:0}} "
WRITING = [
    (f"{NODE}/d/variables/part-0.tempstate14; No space left on device [Op:SaveV2]", "/d/variables/part-0.tempstate14"),
    ("/d/a b; c.tfrecord; No space left on device", "/d/a b; c.tfrecord"),
    (f"{NODE}/d/events.v2; No space left on device\n\tFailed to flush 11 events to /d/events.v2", "/d/events.v2"),
]


@pytest.mark.parametrize(("message", "path"), WRITING)
def test_a_full_disk_is_told_from_a_lack_of_memory(message: str, path: str) -> None:
    found = writing_error(tf.errors.ResourceExhaustedError(None, None, message))
    assert found and (found.errno, found.filename) == (errno.ENOSPC, path)
    with pytest.raises(OSError, match="No space left on device") as caught, written_by_tensorflow(Path("/exports/new")):
        raise tf.errors.ResourceExhaustedError(None, None, message)
    assert caught.value.filename == "/exports/new"


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, written_by_tensorflow():
        raise tf.errors.PermissionDeniedError(None, None, "/d/sm3; Read-only file system")
    assert (caught.value.errno, caught.value.filename) == (errno.EROFS, "/d/sm3")


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,8]"),
        tf.errors.NotFoundError(None, None, "/photos/a.jpg; No such file or directory"),
        ValueError("No space left on device"),
    ],
)
def test_other_errors_stay(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, written_by_tensorflow(Path("/exports/new")):
        raise error
    assert caught.value is error
