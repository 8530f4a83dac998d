"""Every export of one model beside each other, or one exported file."""

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
    """What the gate found of an export.

    Attributes:
        report: the figures.
        keep_float: of a quantized file that was made here, the layers that stay float32.
    """

    report: GateReport
    keep_float: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
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
    """Size, accuracy, agreement, speed at 1 and 2 threads and memory of a model's exports, or of an exported file.

    Nothing is kept. Quantized files have as many layers in float32 as the gate needs, as `export` makes them.

    Args:
        model: a run directory or `.keras` file, all of whose exports are made; or one exported file.
        samples: how many test photos; all if `None`.
        seconds: how long speed is measured, for each number of threads.
        config: whose data to use; the run's own if `None`.
        overrides: `KEY=VALUE` texts on the config.
        run: for an exported file, the run that it was exported from, unless it lies in there.
        progress: where progress is shown.

    Returns:
        By kind of export what the gate found, or why there is none.

    Raises:
        UserError: if the model or the data is wrong.
    """
    located = locate(model)
    if located.is_exported:
        own = run or (str(located.run.path) if located.run else None)
        if own is None:
            raise UserError(f"{model}: isn't in a run directory, so say which run it was exported from: --run RUN.")
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
