"""What may be asked of an export."""

from dataclasses import dataclass
from typing import Literal, get_args

from clan_tf.errors import UserError, nearest

Format = Literal["saved_model", "tflite", "onnx", "keras"]
Quantization = Literal["none", "float16", "dynamic", "int8", "int16x8"]
Io = Literal["float32", "uint8"]

SELECTIVE = ("float16", "int8")
"""With these, layers may stay float32."""
CALIBRATED = ("int8", "int16x8")
"""These need photos to find out how large the activations get."""


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and how.

    Attributes:
        format: `saved_model`, `tflite`, `onnx`, or `keras`, the whole model for further training.
        quantize: for `tflite`, how numbers are stored and computed.
        branches: whose predictions are combined; all if `None`. What no answer needs is left out.
        io: the type of photos that the file takes; for `saved_model`, of `serving_default`. `None` for the usual one:
            float32 for `tflite`, else uint8.
        any_batch: for `tflite`, whether the file takes any number of photos at once, instead of one.
        per_branch: for `saved_model`, whether each branch's probabilities are answered, too.
        explain: for `saved_model`, whether there is a signature that answers with attention maps.
        fold: whether chains of linear layers become one.
        calibration_photos: for `int8` and `int16x8`, how many train photos are looked at.
        keep_float: for `float16` and `int8`, layers that stay float32.
        max_drop: by how many percentage points a quantized file's accuracy may be lower.

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
    calibration_photos: int = 200
    keep_float: tuple[str, ...] = ()
    max_drop: float = 1.0

    def __post_init__(self) -> None:
        _require_one_of("--format", self.format, get_args(Format))
        _require_one_of("--quantize", self.quantize, get_args(Quantization))
        if self.io is not None:
            _require_one_of("--io", self.io, get_args(Io))
        is_tflite, is_servable = self.format == "tflite", self.format == "saved_model"
        is_for_inference = self.format != "keras"
        given_where = {
            "--quantize": (self.quantize != "none", is_tflite, "tflite"),
            "--any-batch": (self.any_batch, is_tflite, "tflite"),
            "--per-branch": (self.per_branch, is_servable, "saved_model"),
            "--explain": (self.explain, is_servable, "saved_model"),
            "--io": (self.io is not None, is_for_inference, "saved_model, tflite and onnx"),
            "--branches": (self.branches is not None, is_for_inference, "saved_model, tflite and onnx"),
        }
        for option, (given, possible, formats) in given_where.items():
            if given and not possible:
                raise UserError(f"{option}: is for --format {formats}; received --format {self.format}.")
        if self.keep_float and self.quantize not in SELECTIVE:
            raise UserError(f"--keep-float: is for --quantize float16 and int8; received --quantize {self.quantize}.")
        if self.calibration_photos < 1:
            raise UserError(f"--calibration-photos: must be 1 or more; received {self.calibration_photos}.")
        if not self.max_drop >= 0:
            raise UserError(f"--max-drop: must be 0 or more; received {self.max_drop}.")

    @property
    def kind(self) -> str:
        """Format and quantization in one word, which names folders: `saved_model`, `tflite-int8`."""
        return self.format if self.format != "tflite" else f"tflite-{self.quantize.replace('none', 'float32')}"


def _require_one_of(option: str, value: str, values: tuple[str, ...]) -> None:
    if value not in values:
        raise UserError(
            f"{option}: must be one of {', '.join(values)}; received {value!r}.{nearest(value, list(values))}"
        )
