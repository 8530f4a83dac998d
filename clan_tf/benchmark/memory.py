"""The peak memory of this process."""

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

FROM_SYSTEM = "peak resident memory of the process, before any other contender was made"
FROM_GPU = "peak of TensorFlow's allocator on the GPU by get_memory_info, before any other contender was made"
_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory, in bytes.

    Attributes:
        peak: with the measured calls.
        before: before the first of them, with the libraries and the model.
        how: how it was measured.
    """

    peak: int
    before: int
    how: str

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {"bytes": self.peak, "bytes_before": self.before, "how": self.how}


def peak_bytes() -> int:
    """Returns the most bytes used so far: of the first GPU if TensorFlow sees one, of the process otherwise."""
    if tf.config.list_logical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    if _STATUS.exists():
        peak = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(peak.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Lets the peak begin anew at what is used now, where the system can do that."""
    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")
    else:
        with suppress(OSError):  # /proc isn't there, or read-only
            _FORGET.write_text("5")  # proc(5): resets the peak resident set size


def peak_memory(before: int) -> PeakMemory:
    """Describes the peak until now; `before` is what `peak_bytes` gave before the measured calls."""
    how = FROM_GPU if tf.config.list_logical_devices("GPU") else FROM_SYSTEM
    # The kernel counts pages thread by thread, and so its figures may fall by a few.
    return PeakMemory(max(peak_bytes(), before), before, how)
