"""Export of a trained model to a file that has passed the gate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from clan_tf.environment import describe_environment
from clan_tf.errors import CheckFailed, UserError
from clan_tf.export.comparison import Comparison
from clan_tf.export.gate import GateReport, Limits
from clan_tf.export.options import SELECTIVE, ExportOptions
from clan_tf.export.requirements import files_in, require_free
from clan_tf.export.writer import ExportWriter
from clan_tf.files import new_folder, write_json
from clan_tf.inference import locate_keras
from clan_tf.progress import Progress
from clan_tf.run.directory import exports_in
from clan_tf.runtime import Contract
from clan_tf.runtime.contract import EXPORT_FILE


@dataclass(frozen=True)
class Export:
    """An exported file, which may have failed the gate.

    Attributes:
        path: the file, or the folder `NAME/` of a SavedModel's versions.
        folder: the folder of the file and, if it is kept, of `export.json`.
        report: the comparison of its outputs with the Keras model's.
        options: the options of the export, with the layers that stay in float32.
        contract: its labels and preprocessing.
        notes: in what the file isn't like the model.
    """

    path: Path
    folder: Path
    report: GateReport
    options: ExportOptions
    contract: Contract
    notes: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The kind, and the layers that stay in float32: `tflite-int8 with top, combined in float32`."""
        kept = self.options.keep_float
        return self.options.kind + (f" with {', '.join(kept)} in float32" if kept else "")


def export(
    model: str,
    options: ExportOptions,
    output: str | None = None,
    samples: int | None = None,
    config: str | None = None,
    overrides: Sequence[str] = (),
    force: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Exports a trained model, and keeps the file if its outputs agree with the model's.

    Args:
        model: a run directory or a `.keras` file.
        options: the format and further options.
        output: the folder to make; if `None`, `exports/NAME` in the model's run, or beside a file without a run, where
            NAME is `options.folder_name`.
        samples: how many test photos the outputs are compared on, stratified over classes; all if `None`.
        config: the config whose data to use, or a folder of photos; the run's own if `None`.
        overrides: `KEY=VALUE` strings that override the config.
        force: whether to replace an existing export.
        progress: where progress is shown.

    Raises:
        UserError: if the model or an option is wrong, or the folder exists.
        CheckFailed: if the model's weights are damaged, an operator is missing, or the gate fails; nothing is kept.
    """
    folder = Path(output) if output is not None else _default_folder(model, options)
    require_free(folder, force)
    exporter = Exporter(Comparison(model, samples, config, overrides, progress))
    return exporter.export(options, folder, force)


class Exporter:
    """Writes exports of one model until their outputs agree with it.

    Args:
        comparison: the model and the photos that its exports are compared on.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._writer = ExportWriter(comparison)
        self._progress = comparison.progress

    def export(self, options: ExportOptions, folder: Path, force: bool = False) -> Export:
        """Writes one export and checks it; arguments and errors are those of `export`."""
        require_free(folder, force)
        with new_folder(folder, replace=force) as temporary:
            made = self.build(options, temporary)
            if made.report.failures:
                raise CheckFailed(
                    f"{self._comparison.path}: the export {made.description} {made.report.describe_failure()}"
                )
            write_json(
                temporary / EXPORT_FILE,
                {
                    "file": made.path.name,
                    "files": files_in(temporary),
                    "model": str(self._comparison.path),
                    "model_sha256": self._comparison.sha256,
                    "data": self._comparison.place,
                    "split": self._comparison.split,
                    "options": asdict(made.options),
                    "contract": asdict(made.contract) | {"class_names": list(made.contract.class_names)},
                    **({"notes": notes} if (notes := [*self._comparison.notes, *made.notes]) else {}),
                    "gate": made.report.to_json(),
                    "environment": describe_environment(),
                },
            )
            require_free(folder, force)  # again, because the export took a while
        return replace(made, path=folder / made.path.name, folder=folder)

    def build(self, options: ExportOptions, folder: Path, threads: Sequence[int] = (), seconds: float = 1.0) -> Export:
        """Writes one export into a folder and checks it; it is returned even if it fails the gate.

        If it fails and may have layers in float32, it is rewritten with more and more of them until it passes.

        Args:
            options: the format and further options.
            folder: an empty folder.
            threads: the numbers of threads with which speed is measured; 1 and all if empty.
            seconds: how long speed is measured for each.

        Returns:
            The first export that passes, or the last one; its report says why it failed.

        Raises:
            UserError: if an option isn't possible with this model.
            CheckFailed: if a file can't be written or run.
        """
        contract = self._writer.contract(options)
        if lost := self._writer.lost_rejection(contract):
            self._progress.note(f"note: {options.kind}: {lost}")
        made = self._build_once(options, contract, folder, threads, seconds)
        if not made.report.failures or options.quantize not in SELECTIVE or options.keep_float:
            return made
        try:
            for kept in self._writer.layers_to_keep(options, contract):
                flags = " ".join(f"--keep-float {layer}" for layer in kept)
                self._progress.note(f"{options.kind}: {'; '.join(made.report.failures)}. Next with {flags}")
                made = self._build_once(replace(options, keep_float=tuple(kept)), contract, folder, threads, seconds)
                if not made.report.failures:
                    break
        except UserError as error:
            self._progress.note(f"{options.kind}: no layers are tried in float32. {error}")
        return made

    def _build_once(
        self, options: ExportOptions, contract: Contract, folder: Path, threads: Sequence[int], seconds: float
    ) -> Export:
        path = self._writer.write(options, contract, folder)
        own_contract = contract if options.format == "keras" else None
        model = self._comparison.model
        limits = Limits.of(options, model.ROUNDING, model.sharpness)
        signatures = self._comparison.further_signatures(options)
        with self._comparison.own_files(options):
            report = self._comparison.check(
                path, contract, limits, own_contract, threads, seconds, signatures, options.takes_batches
            )
        lost = self._writer.lost_rejection(contract)
        return Export(path, folder, report, options, contract, (lost,) if lost else ())


def _default_folder(model: str, options: ExportOptions) -> Path:
    located = locate_keras(model)
    name = options.folder_name
    return located.run.export(name) if located.run else exports_in(located.file.parent) / name
