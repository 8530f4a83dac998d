"""The process that runs one exported file, and the messages it exchanges with the process that wants the answers.

It is started by this file's path in an isolated interpreter, so that neither this project nor Keras affects the
answers, and a damaged file can only end this process. It needs NumPy, and ai-edge-litert, ONNX Runtime or TensorFlow.
"""

import importlib
import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO

import numpy as np

Arrays = Mapping[str, np.ndarray]
_WARM_UP_CALLS = 3
_HEADER_BYTES = 2**20
COPIES_BYTES = 2**29
"""How large all copies of a `.tflite` file may be together, if it is opened once per thread."""


def send(stream: BinaryIO, header: Mapping[str, Any], arrays: Arrays | None = None) -> None:
    """Writes a message: a line of JSON, which says what follows, and the arrays' bytes."""
    contents = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    described = {name: (array.dtype.str, array.shape) for name, array in contents.items()}
    stream.write(json.dumps({**header, "arrays": described}).encode() + b"\n")
    for array in contents.values():
        stream.write(array.data.cast("B") if array.size else b"")
    stream.flush()


def receive(stream: BinaryIO, limit: int | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads a message.

    Args:
        stream: where it comes from.
        limit: the most bytes its arrays may have; no limit if `None`.

    Raises:
        EOFError: where there are no more.
        ValueError: if the message has more bytes.
    """
    line = stream.readline(_HEADER_BYTES)
    if not line.endswith(b"\n"):
        raise EOFError("the other process has ended")
    header = json.loads(line)
    described = header.pop("arrays")
    size = sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in described.values())
    if limit is not None and size > limit:
        raise ValueError(f"it has {size:,} bytes")
    return header, {name: _read_array(stream, *each) for name, each in described.items()}


def _read_array(stream: BinaryIO, dtype: str, shape: list[int]) -> np.ndarray:
    content = stream.read(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    try:
        return np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:
        raise EOFError("the other process has ended") from error


def open_tflite(path: str, threads: int) -> Callable[..., Arrays]:
    """Opens a `.tflite` file as a function from photos to answers."""
    from ai_edge_litert.interpreter import Interpreter

    def open_one(threads: int) -> Callable[[np.ndarray], Arrays]:
        runner = Interpreter(model_path=path, num_threads=threads).get_signature_runner()
        ((name, details),) = runner.get_input_details().items()
        return lambda photo: runner(**{name: photo.astype(details["dtype"])})

    # An interpreter answers one photo at a time, and each prepares weights of its own.
    copies = min(threads, max(1, COPIES_BYTES // os.path.getsize(path)))
    return _by_photo(open_one(threads), partial(open_one, threads // copies), copies)


def open_onnx(path: str, threads: int) -> Callable[..., Arrays]:
    """Opens an ONNX file as a function from photos to answers."""
    import onnxruntime

    def open_one(threads: int) -> Callable[[np.ndarray], Arrays]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        photo, *others = session.get_inputs()
        if others:
            raise ValueError(f"it has {1 + len(others)} inputs, where photos should be the only one")
        dtype = "uint8" if photo.type == "tensor(uint8)" else "float32"
        outputs = [output.name for output in session.get_outputs()]
        return lambda one: dict(zip(outputs, session.run(outputs, {photo.name: one.astype(dtype)}), strict=True))

    opening = threading.Lock()
    opened: list[Callable[[np.ndarray], Arrays]] = []

    def open_shared() -> Callable[[np.ndarray], Arrays]:
        # A session may answer several photos at a time.
        with opening:
            if not opened:
                opened.append(open_one(1))
        return opened[0]

    return _by_photo(open_one(threads), open_shared, threads)


def _by_photo(
    alone: Callable[[np.ndarray], Arrays], open_copy: Callable[[], Callable[[np.ndarray], Arrays]], copies: int
) -> Callable[..., Arrays]:
    """Makes a function from photos to answers that uses all threads for one photo, or divides them among many.

    Threads that share a photo wait for each other at every operator, the more so where other work takes a core from one
    of them, such as decoding the next photos.

    Args:
        alone: answers one photo `(1, height, width, 3)` with all threads; several where the function is called with
            `together`, for files that take any number.
        open_copy: returns what answers one photo with its part of the threads; called once for each copy, when it is
            needed.
        copies: how many photos are answered at a time.
    """
    own = threading.local()
    pool = ThreadPoolExecutor(copies)

    def answer_one(photo: np.ndarray) -> Arrays:
        if not hasattr(own, "answer"):
            own.answer = open_copy()
        return own.answer(photo[None])

    def answer(photos: np.ndarray, together: bool = False) -> Arrays:
        if together:
            return alone(photos)
        # Copies take time to open, which few photos don't bring in.
        is_divided = len(photos) > copies > 1
        rows = list(pool.map(answer_one, photos)) if is_divided else [alone(photo[None]) for photo in photos]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return answer


@contextmanager
def _plain_path(path: str) -> Iterator[str]:
    """Yields a path of a SavedModel that TensorFlow can open: that of a link where it would take the path itself for
    a pattern, because of [, ], *, ? or \\, or fail on a name that isn't UTF-8.
    """
    try:
        is_plain = not set("[]*?\\") & set(os.fsencode(path).decode("utf-8"))
    except UnicodeDecodeError:
        is_plain = False
    if is_plain:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.abspath(path), os.path.join(folder, "model"))
        yield os.path.join(folder, "model")


def open_saved_model(path: str, threads: int) -> Callable[..., Arrays]:
    """Opens a SavedModel as a function from photos, or for `serve_bytes` from encoded ones, to answers."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    with _plain_path(path) as plain:
        signatures = tf.saved_model.load(plain).signatures

    def answer(photos: np.ndarray, signature: str = "serving_default") -> Arrays:
        serve = signatures[signature]
        dtype = serve.structured_input_signature[1]["photos"].dtype
        if dtype == tf.string:
            given = tf.constant([content.tobytes() for content in photos])
        else:
            given = tf.cast(photos, dtype)
        return {name: x.numpy() for name, x in serve(photos=given).items()}

    return answer


RUNTIMES = {
    "tflite": "ai_edge_litert.interpreter",
    "onnx": "onnxruntime",
    "saved_model": "tensorflow",
}
"""What is imported before the memory is measured."""
OPENERS = {"tflite": open_tflite, "onnx": open_onnx, "saved_model": open_saved_model}


def _measure(answer: Callable[[np.ndarray], Arrays], photos: np.ndarray, seconds: float) -> np.ndarray:
    """Measures how long calls took, in seconds."""
    for _ in range(_WARM_UP_CALLS):
        answer(photos)
    durations: list[float] = []
    while sum(durations) < seconds:
        started = time.perf_counter()
        answer(photos)
        durations.append(time.perf_counter() - started)
    return np.array(durations)


def _peak_bytes() -> int:
    """Returns the most memory that this process has had; 0 where the system doesn't say."""
    try:
        # Not `getrusage`, which counts what the parent had.
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0


def answer_requests(runtime: str, open_file: Callable[[str, int], Callable[..., Arrays]]) -> None:
    """Answers requests on standard input until it ends.

    Args:
        runtime: the module that is imported before the memory is measured.
        open_file: makes a function from photos to answers of the file's path and a number of threads.
    """
    path, threads = sys.argv[2], int(sys.argv[3])
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints must end up between the messages
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        importlib.import_module(runtime)
        before = _peak_bytes()
        answer = open_file(path, threads)
        send(replies, {})
        while True:
            header, arrays = receive(requests)
            if seconds := header.pop("measure_seconds", None):
                reply: Arrays = {"seconds": _measure(answer, arrays["photos"], seconds)}
            else:
                reply = answer(arrays["photos"], **header)
            send(replies, {"memory": max(0, _peak_bytes() - before)}, reply)
    except EOFError:
        return
    # Runtimes raise many types for a damaged file.
    except Exception as error:  # noqa: BLE001
        send(replies, {"error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Runs a `.tflite` or `.onnx` file or a SavedModel."""
    sys.modules["keras"] = None  # type: ignore[assignment]  # what needs Keras fails
    kind = sys.argv[1]
    answer_requests(RUNTIMES[kind], OPENERS[kind])


if __name__ == "__main__":
    main()
