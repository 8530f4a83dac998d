"""Benchmark of all exports of one model, or of one exported file."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clan_tf.errors import CheckFailed, UserError
from clan_tf.export.comparison import Comparison
from clan_tf.export.export import Exporter
from clan_tf.export.gate import GateReport, Limits
from clan_tf.export.options import ExportOptions
from clan_tf.inference import locate
from clan_tf.progress import Progress
from clan_tf.runtime import read_contract

ALL_EXPORTS = (
    ExportOptions("keras"),
    ExportOptions("saved_model"),
    ExportOptions("onnx"),
    ExportOptions("tflite"),
    ExportOptions("tflite", "float16"),
    ExportOptions("tflite", "dynamic"),
    ExportOptions("tflite", "int8"),
    ExportOptions("tflite", "int16x8"),
)
THREADS = (1, 2)


@dataclass(frozen=True)
class Measured:
    """The gate's findings for an export.

    Attributes:
        report: the measurements.
        keep_float: for a quantized file made by this benchmark, the layers that stay in float32.
    """

    report: GateReport
    keep_float: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {**self.report.to_json(), "keep_float": list(self.keep_float)}


def benchmark_exports(
    model: str,
    samples: int | None = None,
    seconds: float = 2.0,
    config: str | None = None,
    overrides: Sequence[str] = (),
    run: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Measured | Exception]:
    """Measures size, accuracy, agreement, speed at 1 and 2 threads, and memory of a model's exports or one file.

    No files are kept. Quantized files keep as many layers in float32 as the gate requires, as in `export`.

    Args:
        model: a run directory or `.keras` file, which is exported to all formats; or one exported file.
        samples: how many test photos; all if `None`.
        seconds: how long speed is measured for each number of threads.
        config: the config whose data to use, or a folder of photos; the run's own if `None`.
        overrides: `KEY=VALUE` strings that override the config.
        run: for an exported file, the run that it was exported from, unless the file is inside it.
        progress: where progress is shown.

    Returns:
        The gate's findings by kind of export, or the reason why there is no such export.

    Raises:
        UserError: if the model or the data is wrong.
    """
    located = locate(model)
    if located.is_exported:
        own = run or (str(located.run.path) if located.run else None)
        if own is None:
            raise UserError(f"{model}: isn't in a run directory, so name the run that it was exported from: --run RUN.")
        comparison = Comparison(own, samples, config, overrides, progress)
        contract = read_contract(located.file)
        report = comparison.check(located.file, contract, Limits(), None, THREADS, seconds)
        return {located.path.name: Measured(report)}
    comparison = Comparison(model, samples, config, overrides, progress)
    exporter = Exporter(comparison)
    found: dict[str, Measured | Exception] = {}
    with comparison.progress.track("exporting", len(ALL_EXPORTS)) as advance:
        for options in ALL_EXPORTS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    made = exporter.build(options, Path(folder), THREADS, seconds)
                    found[options.kind] = Measured(made.report, made.options.keep_float)
                except (CheckFailed, UserError) as error:
                    found[options.kind] = error
            advance(options.kind)
    return found
