"""Time by kind of operator, from TensorFlow's profiler."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import tensorflow as tf

from clan_tf.silence import discarded_stderr

_SCHEMAS = ("tensorflow.tsl.profiler.protobuf.xplane_pb2", "tensorflow.core.profiler.protobuf.xplane_pb2")
"""Where TensorFlow keeps the format of its profiles, depending on its version."""


@dataclass(frozen=True)
class OperatorTime:
    """The time of one kind of operator.

    Attributes:
        kind: TensorFlow's name of it, such as `Conv2DBackpropInput`.
        milliseconds: in one call, summed over its operators.
        share: part of the sum over all kinds.
    """

    kind: str
    milliseconds: float
    share: float


def operator_times(call: Callable[[], Any], calls: int = 2) -> tuple[OperatorTime, ...]:
    """Profiles calls and returns the time of each kind of operator, longest first.

    The times are those of TensorFlow's executor on the host: an operator that several cores share counts once, and
    operators that run at the same time count each. So the sum can be more than the call's time. oneDNN's kernels count
    as the operators that they compute.

    Returns:
        Nothing where the profile can't be read: with a version of TensorFlow that hides its format, and on GPUs, where
        the host only starts the operators.
    """
    schema = _schema()
    if schema is None or tf.config.list_logical_devices("GPU"):
        return ()
    with tempfile.TemporaryDirectory() as folder:
        with discarded_stderr():
            tf.profiler.experimental.start(folder)
            try:
                for _ in range(calls):
                    call()
            finally:
                tf.profiler.experimental.stop()
        totals: Counter[str] = Counter()
        for file in Path(folder).rglob("*.xplane.pb"):
            space = schema.XSpace()
            space.ParseFromString(file.read_bytes())
            for plane in space.planes:
                totals.update(_times_in(plane))
    whole = sum(totals.values())
    return tuple(OperatorTime(kind, time / calls / 1e9, time / whole) for kind, time in totals.most_common())


def _schema() -> Any:
    for name in _SCHEMAS:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _times_in(plane: Any) -> Counter[str]:
    """Sums the picoseconds of operators by kind: of the events that are named `OPERATOR:KIND` and shown as `KIND`."""
    times: Counter[str] = Counter()
    for line in plane.lines:
        for event in line.events:
            metadata = plane.event_metadata[event.metadata_id]
            kind = metadata.display_name
            if kind and metadata.name.endswith(f":{kind}"):
                times[re.sub("^_Mkl(Native)?", "", kind)] += event.duration_ps
    return times
