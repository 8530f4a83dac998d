"""Exported files as models: their labels, their preprocessing, and their answers from a process of their own."""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from clan_tf.errors import UserError
from clan_tf.in_parallel import cores
from clan_tf.photos import numpy_evaluation_view
from clan_tf.runtime import worker_process
from clan_tf.runtime.contract import Contract, read_contract

PROBABILITIES = "probabilities"
LABEL_IDS, ACCEPTED = "label_ids", "accepted"
"""Outputs of a SavedModel: the most probable class, and whether it is an answer."""
SERVE_BYTES = "serve_bytes"
"""The signature that takes encoded photos."""
START_SECONDS, ANSWER_SECONDS = 300.0, 120.0
"""How long a file may take to load, and to answer, before it counts as damaged."""
SLOWER = 10
"""How many times as long as the slowest answer so far each of several photos may take."""
ANSWER_BYTES = 2**28
"""Largest size of one answer."""
STEP = 1 / 256
"""The steps of probabilities in integers of 8 bits."""


@dataclass(frozen=True)
class Speed:
    """How fast an exported file answers one photo.

    Attributes:
        threads: how many threads it could use.
        median: seconds.
        p95: seconds, of 95 % of the calls.
        calls: how many there were.
        memory: the most bytes by which the process grew, compared with before the file was loaded.
    """

    threads: int
    median: float
    p95: float
    calls: int
    memory: int


class ExportedModel:
    """A `.tflite` or `.onnx` file or SavedModel folder, run in a process of its own; a context manager that ends it.

    Args:
        path: the file, or the folder with `saved_model.pb`.
        threads: how many threads the runtime may use; all cores if `None`.
        contract: labels and preprocessing, where the file doesn't hold them.
        program: the Python file that the process runs, with the protocol of `worker_process`.

    Attributes:
        path: the file or folder.
        contract: labels and preprocessing.
        threads: how many threads the runtime may use.

    Raises:
        UserError: if the file can't be read or run.
    """

    def __init__(
        self,
        path: str | Path,
        threads: int | None = None,
        contract: Contract | None = None,
        program: str = worker_process.__file__,
    ) -> None:
        self.path = Path(path)
        kind = "saved_model" if self.path.is_dir() else self.path.suffix.removeprefix(".")
        self.contract = contract or read_contract(self.path)
        self.threads = threads or cores()
        self._slowest: float | None = None
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-I", program, kind, str(self.path), str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._requests, self._replies = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        try:
            self._exchange(None, {}, START_SECONDS)
        except UserError:
            self.close()
            raise

    def __enter__(self) -> "ExportedModel":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    @property
    def has_answered(self) -> bool:
        """Whether it has ever given an answer."""
        return self._slowest is not None

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def __call__(
        self, photos: np.ndarray, signature: str | None = None, together: bool = False
    ) -> dict[str, np.ndarray]:
        """Returns the probabilities of photos.

        Args:
            photos: uint8 RGB `(photos, height, width, 3)`; of `contract.input_size`, unless it is `None`. Or, for
                `serve_bytes`, encoded photos of one length, their bytes as uint8 `(photos, bytes)`.
            signature: of a SavedModel; the default one if `None`.
            together: whether a `.tflite` or `.onnx` file gets all photos in one request, as a SavedModel always does;
                otherwise one by one.

        Returns:
            `probabilities` and, where the file has them, `probabilities_BRANCH`: float32 `(photos, classes)`; and of
            a SavedModel `label_ids` and `accepted`, `(photos,)`.

        Raises:
            UserError: if the file can't answer, or its answers aren't probabilities.
        """
        request: dict[str, Any] = {"signature": signature} if signature else {}
        if together and not self.path.is_dir():
            request["together"] = True
        each = ANSWER_SECONDS if self._slowest is None else SLOWER * self._slowest
        started = time.perf_counter()
        _, outputs = self._exchange(request, {"photos": photos}, ANSWER_SECONDS + each * (len(photos) - 1))
        self._slowest = max(self._slowest or 0.0, (time.perf_counter() - started) / max(1, len(photos)))
        answers = {name: values for name, values in outputs.items() if name.startswith(PROBABILITIES)}
        expected = (len(photos), len(self.contract.class_names))
        if PROBABILITIES not in answers or any(values.shape != expected for values in answers.values()):
            found = {name: values.shape for name, values in outputs.items()}
            raise UserError(f"{self.path}: must answer {PROBABILITIES} {expected}; received {found}.")
        if not all(np.isfinite(values).all() for values in answers.values()):
            raise UserError(f"{self.path}: outputs NaN; the file is damaged.")
        for name, values in answers.items():
            _require_probabilities(f"{self.path}: {name}", values)
        return answers | {name: outputs[name] for name in (LABEL_IDS, ACCEPTED) if name in outputs}

    def view(self, photo: np.ndarray) -> np.ndarray:
        """Returns the file's input for a whole photo, uint8 RGB `(height, width, 3)`."""
        contract = self.contract
        if contract.input_size is None:
            return photo
        return numpy_evaluation_view(photo, contract.input_size, contract.resize_size, contract.resize_mode)

    def measure(self, photos: np.ndarray, seconds: float = 2.0) -> Speed:
        """Measures how long calls with these photos take, repeated for `seconds`, after a few that don't count."""
        header, answer = self._exchange({"measure_seconds": seconds}, {"photos": photos}, ANSWER_SECONDS + 10 * seconds)
        durations = answer["seconds"]
        return Speed(
            self.threads,
            float(np.median(durations)),
            float(np.percentile(durations, 95)),
            len(durations),
            header["memory"],
        )

    def _exchange(
        self, request: dict[str, Any] | None, arrays: dict[str, np.ndarray], seconds: float
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Sends a request, unless it is `None`, and returns the reply."""
        watch = threading.Timer(seconds, self._process.kill)
        watch.start()
        try:
            if request is not None:
                worker_process.send(self._requests, request, arrays)
            header, reply = worker_process.receive(self._replies, ANSWER_BYTES)
        except (EOFError, BrokenPipeError) as error:
            raise UserError(f"{self.path}: can't be run; {self._ending(seconds)}") from error
        except ValueError as error:
            raise UserError(f"{self.path}: can't be run: its answer isn't one of probabilities ({error}).") from error
        finally:
            watch.cancel()
        if "error" in header:
            raise UserError(f"{self.path}: can't be run: {_first_line(header['error'])}")
        return header, reply

    def _ending(self, seconds: float) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return f"it was given up after {seconds:.0f} seconds, or it was killed: out of memory."
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"its process ended with {reason}" + (f": {lines[-1]}" if lines else "; the file is damaged.")


def _require_probabilities(name: str, values: np.ndarray) -> None:
    """Raises a `UserError` unless values `(photos, classes)` are from 0 to 1, and each photo's add up to about 1.

    Files that compute in integers round the probability of each class to a step, and again that of the combination, and
    cut off what few photos reach: many classes together may be far from 1.
    """
    if not values.size:
        return
    lowest, highest = float(values.min()), float(values.max())
    if lowest < -STEP or highest > 1 + 2 * STEP:
        raise UserError(
            f"{name} must be from 0 to 1; received {lowest:.4g} to {highest:.4g}. The file is damaged, or wasn't "
            "written by clan-tf export."
        )
    sums = values.sum(axis=1, dtype="float64")
    slack = 0.01 + 2 * STEP * values.shape[1]
    wrong = sums[(sums > 1 + slack) | (sums < 0.5 - slack)]
    if wrong.size:
        raise UserError(
            f"{name} of the classes must add up to 1; received {wrong[0]:.4g}. The file is damaged, or wasn't written "
            "by clan-tf export."
        )


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0][:300]
