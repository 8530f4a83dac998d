"""What passes between the operators of a float32 `.tflite` file for some photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clan_tf.in_parallel import cores


@dataclass(frozen=True)
class Observed:
    """The values of a file's tensors for some photos.

    Attributes:
        means: means over the photos by the tensor's number, float64 of one photo's shape; of the tensors asked for.
        ranges: smallest and largest values by the tensor's name, of all tensors of floats. Those of the photos are 0
            and 255.
    """

    means: dict[int, np.ndarray]
    ranges: dict[str, tuple[float, float]]


def observe(
    file: bytes,
    photos: Sequence[np.ndarray],
    averaged: Sequence[int] = (),
    on_photo: Callable[[], None] = lambda: None,
) -> Observed:
    """Runs photos through a float32 `.tflite` file one by one.

    Args:
        file: a file with one input.
        photos: its input, uint8 `(input_size, input_size, 3)`.
        averaged: the numbers of the tensors whose means are wanted.
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
    floats = [(each["index"], each["name"]) for each in interpreter.get_tensor_details() if each["dtype"] is np.float32]
    sums: dict[int, Any] = dict.fromkeys(averaged, 0.0)
    ranges: dict[str, tuple[float, float]] = {taken["name"]: (0.0, 255.0)}
    for photo in photos:
        interpreter.set_tensor(taken["index"], photo[None].astype(taken["dtype"]))
        interpreter.invoke()
        for number, name in floats:
            values = interpreter.get_tensor(number)
            if number in sums:
                sums[number] = sums[number] + values.astype("float64")
            if values.size:
                least, most = ranges.get(name, (np.inf, -np.inf))
                ranges[name] = min(least, float(values.min())), max(most, float(values.max()))
        on_photo()
    return Observed({number: total / len(photos) for number, total in sums.items()}, ranges)
