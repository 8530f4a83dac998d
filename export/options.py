"""The options of an export."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

from clan_tf.errors import UserError, nearest

Format = Literal["saved_model", "tflite", "onnx", "keras"]
Quantization = Literal["none", "float16", "dynamic", "int8", "int16x8"]
Io = Literal["float32", "uint8"]

SELECTIVE = ("float16", "dynamic", "int8")
"""Quantizations with which layers may stay in float32."""
LOSSY = ("dynamic", "int8", "int16x8")
"""Quantizations that store weights as integers, and so lose more than precision."""
CALIBRATED = ("int8", "int16x8")
"""Quantizations that need photos to determine the range of activations."""
LONGEST_FOLDER = 100
"""Most letters of a default folder's name."""


@dataclass(frozen=True)
class ExportOptions:
    """The format of an export and its options.

    Attributes:
        format: `saved_model`, `tflite`, `onnx`, or `keras`, the whole model for further training.
        quantize: for `tflite`, how numbers are stored and computed.
        branches: the branches whose predictions are combined; those that the model combines if `None`. Parts that no
            output needs are removed.
        io: the type of photos that the file takes; for `saved_model`, that of `serving_default`. If `None`, float32 for
            `tflite`, else uint8.
        any_batch: for `tflite`, whether the file takes any number of photos at once, instead of one.
        per_branch: for `saved_model`, whether each branch's probabilities are outputs, too.
        explain: for `saved_model`, whether there is a signature that outputs attention maps.
        fold: whether chains of linear layers are folded into one, batch normalisation among them.
        calibration_photos: for `dynamic`, `int8` and `int16x8`, how many train photos determine the ranges of
            activations; 200 if `None`. At most 50 of them correct biases.
        keep_float: for `float16`, `dynamic` and `int8`, layers or whole networks that stay in float32.
        max_drop: for `dynamic`, `int8` and `int16x8`, the maximum drop in accuracy, in percentage points; 1 if `None`.
        min_agreement: for the same, the minimum percentage of photos with the model's most probable class; if `None`,
            99 for `dynamic`, 98 for `int8` and none for `int16x8`.

    Raises:
        UserError: for a value or a combination that isn't possible.
    """

    format: Format
    quantize: Quantization = "none"
    branches: tuple[str, ...] | None = None
    io: Io | None = None
    any_batch: bool = False
    per_branch: bool = False
    explain: bool = False
    fold: bool = True
    calibration_photos: int | None = None
    keep_float: tuple[str, ...] = ()
    max_drop: float | None = None
    min_agreement: float | None = None

    def __post_init__(self) -> None:
        _require_one_of("--format", self.format, get_args(Format))
        _require_one_of("--quantize", self.quantize, get_args(Quantization))
        if self.io is not None:
            _require_one_of("--io", self.io, get_args(Io))
        inference = ("saved_model", "tflite", "onnx")
        _require_use(
            "--format",
            self.format,
            {
                ("tflite",): {"--quantize": self.quantize != "none", "--any-batch": self.any_batch},
                ("saved_model",): {"--per-branch": self.per_branch, "--explain": self.explain},
                inference: {"--io": self.io is not None, "--branches": self.branches is not None},
            },
        )
        _require_use(
            "--quantize",
            self.quantize,
            {
                SELECTIVE: {"--keep-float": bool(self.keep_float)},
                LOSSY: {
                    "--calibration-photos": self.calibration_photos is not None,
                    "--max-drop": self.max_drop is not None,
                    "--min-agreement": self.min_agreement is not None,
                },
            },
        )
        if self.calibration_photos is not None and self.calibration_photos < 1:
            raise UserError(f"--calibration-photos: must be 1 or more; received {self.calibration_photos}.")
        for option, percent in (("--max-drop", self.max_drop), ("--min-agreement", self.min_agreement)):
            if percent is not None and not 0 <= percent <= 100:
                raise UserError(f"{option}: must be from 0 to 100; received {percent}.")

    @property
    def kind(self) -> str:
        """Format and quantization in one word: `saved_model`, `tflite-int8`."""
        return self.format if self.format != "tflite" else f"tflite-{self.quantize.replace('none', 'float32')}"

    @property
    def folder_name(self) -> str:
        """The name of the folder in `exports/`: the kind, and what makes another file: `tflite-float32-uint8-top`."""
        usual_io = "float32" if self.format == "tflite" else "uint8"
        parts = [
            *([self.io] if self.io not in (None, usual_io) else []),
            *(["any-batch"] if self.any_batch else []),
            *(["per-branch"] if self.per_branch else []),
            *(["explain"] if self.explain else []),
            *([] if self.fold else ["unfolded"]),
            *([f"calibration-{self.calibration_photos}"] if self.calibration_photos else []),
            *sorted(set(self.branches or ())),
            *(["keep", *sorted(set(self.keep_float))] if self.keep_float else []),
        ]
        name = "-".join([self.kind, *(re.sub(r"[^\w.+-]", "_", part) for part in parts)])
        if len(name) <= LONGEST_FOLDER:
            return name
        return f"{name[: LONGEST_FOLDER - 9]}-{sha256(name.encode()).hexdigest()[:8]}"

    @property
    def takes_batches(self) -> bool:
        """Whether the file promises answers for several photos in one request."""
        return self.any_batch or self.format in ("saved_model", "onnx")


def _require_use(option: str, value: str, given_for: Mapping[tuple[str, ...], Mapping[str, bool]]) -> None:
    """Raises a `UserError` if an option is given that has no effect with this value of another option.

    Args:
        option: the other option, such as `--format`.
        value: its value.
        given_for: which options are given, grouped by the values with which they have an effect.
    """
    for values, given in given_for.items():
        for name, is_given in given.items():
            if is_given and value not in values:
                raise UserError(f"{name}: is for {option} {', '.join(values)}; received {option} {value}.")


def _require_one_of(option: str, value: str, values: tuple[str, ...]) -> None:
    if value not in values:
        raise UserError(
            f"{option}: must be one of {', '.join(values)}; received {value!r}.{nearest(value, list(values))}"
        )
