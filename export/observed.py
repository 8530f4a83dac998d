"""What passes between the operators of a float32 `.tflite` file for some photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clan_tf.in_parallel import cores


@dataclass(frozen=True)
class Observed:
    """The values of a file's tensors for some photos, by the tensors' names.

    Attributes:
        means: means over the photos, float64 of one photo's shape; of the tensors asked for.
        ranges: smallest and largest values of all tensors of floats. That of the photos is 0 to 255.
    """

    means: dict[str, np.ndarray]
    ranges: dict[str, tuple[float, float]]


def observe(
    file: bytes,
    photos: Sequence[np.ndarray],
    averaged: Sequence[str] = (),
    on_photo: Callable[[], None] = lambda: None,
) -> Observed:
    """Runs photos through a float32 `.tflite` file one by one.

    Args:
        file: a file with one input.
        photos: its input, uint8 `(input_size, input_size, 3)`.
        averaged: the names of the tensors whose means are wanted.
        on_photo: called after each photo, for progress.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Delegates run many operators as one, and keep what is between them to themselves.
    interpreter = Interpreter(
        model_content=file,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        num_threads=cores(),
    )
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    floats = {each["name"]: each["index"] for each in interpreter.get_tensor_details() if each["dtype"] is np.float32}
    sums: dict[str, Any] = dict.fromkeys(averaged, 0.0)
    ranges: dict[str, tuple[float, float]] = {taken["name"]: (0.0, 255.0)}
    for photo in photos:
        interpreter.set_tensor(taken["index"], photo[None].astype(taken["dtype"]))
        interpreter.invoke()
        for name, index in floats.items():
            values = interpreter.get_tensor(index)
            if name in sums:
                sums[name] = sums[name] + values.astype("float64")
            if values.size:
                least, most = ranges.get(name, (np.inf, -np.inf))
                ranges[name] = min(least, float(values.min())), max(most, float(values.max()))
        on_photo()
    return Observed({name: total / len(photos) for name, total in sums.items()}, ranges)
