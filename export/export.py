"""From a trained model to a file that has passed the gate."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from clan_tf.data import Photo
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches
from clan_tf.environment import describe_environment
from clan_tf.errors import CheckFailed, UserError, counted
from clan_tf.evaluation.evaluate import check_noted, experiment_of, read_noted, require_same_classes
from clan_tf.export.gate import GateReport, Limits, check_file
from clan_tf.export.metadata import with_metadata
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.options import CALIBRATED, SELECTIVE, ExportOptions
from clan_tf.export.pruning import inference_model
from clan_tf.export.requirements import files_in, require_free, require_lines
from clan_tf.export.sampling import stratified
from clan_tf.export.saved_model import write_servable
from clan_tf.export.selective import SelectiveQuantizer, require_layers
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.files import new_folder, write_json
from clan_tf.inference import find_model
from clan_tf.inference.keras_predictor import branch_probabilities, model_view
from clan_tf.inference.predictor import choose_branches
from clan_tf.models import combine, load_model, save_model
from clan_tf.progress import Progress
from clan_tf.runtime.contract import EXPORT_FILE, Contract
from clan_tf.runtime.exported import PROBABILITIES, SERVE_BYTES, ExportedModel

CALIBRATION_PHOTOS, SEARCH_PHOTOS, RANKING_PHOTOS = 200, 200, 24
"""How many photos tell how large activations get, how many layers must stay float32, and which suffer most."""
FEW_PHOTOS = 50
"""Of fewer compared photos a note warns: one is over 2 %, what an int8 file may lose."""
_BATCH_SIZE = 32


@dataclass(frozen=True)
class Export:
    """An exported file, which may have failed the gate.

    Attributes:
        path: the file, or the folder `NAME/` of a SavedModel's versions.
        folder: what holds it and, if it is kept, `export.json`.
        report: how its answers compare with the Keras model's.
        options: how it was exported, with the layers that stay float32.
        contract: its labels and preprocessing.
    """

    path: Path
    folder: Path
    report: GateReport
    options: ExportOptions
    contract: Contract

    @property
    def description(self) -> str:
        """Its kind, and the layers that stay float32: `tflite-int8 with top, combined in float32`."""
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
    """Exports a trained model, and keeps the file if its answers are those of the model.

    Args:
        model: a run directory or a `.keras` file.
        options: the format, and what else may be chosen.
        output: the folder to make; `exports/KIND` in its run, or beside a file that has none, if `None`.
        samples: how many test photos the answers are compared on, stratified over classes; all if `None`.
        config: whose data to use; the run's own if `None`.
        overrides: `KEY=VALUE` texts on the config.
        force: whether an export that is there already gives way.
        progress: where progress is shown.

    Raises:
        UserError: if the model or an option is wrong, or the folder exists.
        CheckFailed: if the model's weights are damaged, an operator is missing, or the gate fails; nothing is kept.
    """
    path, run = find_model(model)
    folder = Path(output) if output is not None else (run.path if run else path.parent) / "exports" / options.kind
    require_free(folder, force)
    exporter = Exporter(model, samples, config, overrides, progress)
    return exporter.export(options, folder, force)


class Exporter:
    """One trained model and the photos that its exports are compared on.

    Args:
        model: a run directory or a `.keras` file.
        samples: how many photos; all of the test split if `None`.
        config: whose data to use; the run's own if `None`.
        overrides: `KEY=VALUE` texts on the config.
        progress: where progress is shown.

    Attributes:
        path: the model's file.
        experiment: whose data is used.
        name: of the exported files.
        model: the Keras model.
        split: of the photos that are compared: `test`, or `val` where there is none.
        photos: those photos.

    Raises:
        UserError: if the model or the data is wrong.
        CheckFailed: if the model has weights that are no numbers.
    """

    def __init__(
        self,
        model: str,
        samples: int | None = None,
        config: str | None = None,
        overrides: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> None:
        if samples is not None and samples < 1:
            raise UserError(f"--samples: must be 1 or more; received {samples}.")
        self.progress = progress or Progress()
        self.path, run = find_model(model)
        self.experiment = experiment_of(self.path, run, config, overrides)
        self.name = self.experiment.name
        self.model = load_model(self.path)
        self.data = read_noted(run, self.experiment, config, self.progress)
        self.source = self.data.source
        require_same_classes(self.path, self.model.class_names, self.source)
        self.split = "test" if self.data.has("test") else "val"
        if self.split == "val":
            self.progress.note("There are no test photos: validation photos are compared.")
        photos = self.data.photos(self.split)
        self.photos = self._checked(self.split, stratified(photos, samples) if samples else photos)
        if len(self.photos.photos) < FEW_PHOTOS:
            self.progress.note(f"{counted(len(self.photos.photos), 'photo')} compared: that says little of others.")
        self._quantizers: dict[ExportOptions, SelectiveQuantizer] = {}

    def export(self, options: ExportOptions, folder: Path, force: bool = False) -> Export:
        """Writes one export and checks it; arguments and errors are those of `export`."""
        require_free(folder, force)
        with new_folder(folder, replace=force) as temporary:
            made = self.build(options, temporary)
            if made.report.failures:
                raise CheckFailed(f"{self.path}: the export {made.description} {made.report.describe_failure()}")
            write_json(
                temporary / EXPORT_FILE,
                {
                    "file": made.path.name,
                    "files": files_in(temporary),
                    "model": str(self.path),
                    "split": self.split,
                    "options": asdict(made.options),
                    "contract": asdict(made.contract) | {"class_names": list(made.contract.class_names)},
                    "gate": made.report.to_json(),
                    "environment": describe_environment(),
                },
            )
            require_free(folder, force)  # the export took a while
        return replace(made, path=folder / made.path.name, folder=folder)

    def build(self, options: ExportOptions, folder: Path, threads: Sequence[int] = (), seconds: float = 1.0) -> Export:
        """Writes one export into a folder, and checks it, whatever comes of it.

        Where it fails and may have layers in float32, it is written again with ever more of them until it passes.

        Args:
            options: the format, and what else may be chosen.
            folder: an empty folder.
            threads: with how many threads speed is measured; 1 and all if there are none.
            seconds: how long.

        Returns:
            The first that passes, or the last; its report says why it failed.

        Raises:
            UserError: if an option isn't possible with this model.
            CheckFailed: if a file can't be written or run.
        """
        contract = self._contract(options, choose_branches(self.model.branches, options.branches))
        made = self._build_once(options, contract, folder, threads, seconds)
        if not made.report.failures or options.quantize not in SELECTIVE or options.keep_float:
            return made
        try:
            for kept in self._layers_to_keep(options, contract):
                flags = " ".join(f"--keep-float {layer}" for layer in kept)
                self.progress.note(f"{options.kind}: {'; '.join(made.report.failures)}. Next with {flags}")
                made = self._build_once(replace(options, keep_float=tuple(kept)), contract, folder, threads, seconds)
                if not made.report.failures:
                    break
        except UserError as error:
            self.progress.note(f"{options.kind}: no layers are tried in float32. {error}")
        return made

    def _build_once(
        self, options: ExportOptions, contract: Contract, folder: Path, threads: Sequence[int], seconds: float
    ) -> Export:
        path = self._write(options, contract, folder)
        own_contract = contract if options.format == "keras" else None
        limits = Limits.of(options)
        signatures = self._further_signatures(options)
        with self._own_files(options):
            report = self.check(path, contract, limits, own_contract, threads, seconds, signatures)
        return Export(path, folder, report, options, contract)

    def check(
        self,
        path: Path,
        contract: Contract,
        limits: Limits,
        own_contract: Contract | None = None,
        threads: Sequence[int] = (),
        seconds: float = 1.0,
        signatures: Sequence[str] = (),
    ) -> GateReport:
        """Compares an exported file, which holds its contract unless one is given, with the model."""
        if contract.class_names != tuple(self.model.class_names) or not set(contract.branches) <= set(self._answers):
            raise UserError(f"{path}: has other classes or branches than {self.path}. Name its own run: --run.")
        expected = {PROBABILITIES: combine([self._answers[name] for name in contract.branches], contract.combination)}
        if contract.per_branch:
            expected |= {f"{PROBABILITIES}_{name}": self._answers[name] for name in contract.branches}
        expected |= dict.fromkeys(signatures, expected[PROBABILITIES])
        return check_file(
            lambda count: ExportedModel(path, count, own_contract),
            self.photos,
            {name: np.asarray(values) for name, values in expected.items()},
            limits,
            threads,
            seconds,
            self.progress,
        )

    def _further_signatures(self, options: ExportOptions) -> list[str]:
        """Those of a SavedModel that are compared beside the default one."""
        if options.format != "saved_model":
            return []
        signatures = ["serve_uint8" if options.io == "float32" else "serve_float32"]
        signatures += ["explain"] if options.explain else []
        if any(photo.box for photo in self.photos.photos):
            self.progress.note(f"{SERVE_BYTES} isn't compared: it takes whole photos, and here their boxes are used.")
            return signatures
        return [*signatures, SERVE_BYTES]

    def _contract(self, options: ExportOptions, branches: tuple[str, ...]) -> Contract:
        model = self.model
        require_lines(self.path, model.class_names)
        # A phone's library stretches photos to the file's size: it gets the whole photo, and the file cuts the centre.
        whole_size = model.resize_size if model.resize_mode == "stretch" else model.image_size
        sizes = {"saved_model": None, "keras": model.image_size, "tflite": whole_size, "onnx": whole_size}
        return Contract(
            class_names=tuple(model.class_names),
            image_size=model.image_size,
            resize_size=model.resize_size,
            resize_mode=model.resize_mode,
            input_size=sizes[options.format],
            branches=branches,
            combination=model.settings["combination"],
            per_branch=options.per_branch,
        )

    def _write(self, options: ExportOptions, contract: Contract, folder: Path) -> Path:
        """Writes the file into a folder."""
        if options.format == "keras":
            save_model(self.model, folder / f"{self.name}.keras")
            return folder / f"{self.name}.keras"
        pruned = inference_model(self.model, contract.branches, options.per_branch, folded=options.fold)
        if options.format == "saved_model":
            explaining = self._explaining_model(contract, options.fold) if options.explain else None
            write_servable(pruned, contract, folder / self.name / "1", explaining, options.io or "uint8")
            return folder / self.name
        path = folder / f"{self.name}.{options.format}"
        if options.format == "onnx":
            path.write_bytes(classifier_to_onnx(pruned, contract, options.io or "uint8"))
            return path
        path.write_bytes(with_metadata(self._tflite(pruned, options, contract), self.name, contract, "clan-tf"))
        return path

    def _tflite(self, pruned: keras.Model, options: ExportOptions, contract: Contract) -> bytes:
        if options.keep_float:
            require_layers(options.keep_float, pruned)
            return self._selective(pruned, options, contract).quantize(options.keep_float)
        calibration = self._calibration(options, contract) if options.quantize in CALIBRATED else ()
        io = options.io or "float32"
        return classifier_to_tflite(pruned, contract.input_size, options.quantize, io, options.any_batch, calibration)

    def _selective(self, pruned: keras.Model, options: ExportOptions, contract: Contract) -> SelectiveQuantizer:
        key = replace(options, keep_float=())
        if key not in self._quantizers:
            io = options.io or "float32"
            float_file = classifier_to_tflite(pruned, contract.input_size, "none", io, options.any_batch)
            calibration = self._calibration(options, contract) if options.quantize in CALIBRATED else ()
            self._quantizers[key] = SelectiveQuantizer(float_file, pruned, contract, options.quantize, calibration)
        return self._quantizers[key]

    def _layers_to_keep(self, options: ExportOptions, contract: Contract) -> Iterator[Sequence[str]]:
        """Ever more layers that stay float32, beginning with as many as photos that aren't compared need."""
        pruned = inference_model(self.model, contract.branches, folded=options.fold)
        quantizer = self._selective(pruned, options, contract)
        split = "val" if self.split == "test" else "train"
        checked = self._checked(split, stratified(self.data.photos(split), SEARCH_PHOTOS))
        views = self._views(checked, contract, f"reading {split} photos")
        few = views[:: -(-len(views) // RANKING_PHOTOS)]
        with self._own_files(options):
            with self.progress.track("looking for sensitive layers", len(quantizer.layers)) as advance:
                ranked = quantizer.ranked_layers(few, advance)
            yield from quantizer.layers_to_keep(ranked, views, checked.labels, Limits.of(options))

    @contextmanager
    def _own_files(self, options: ExportOptions) -> Iterator[None]:
        """A file of ours that can't be run isn't the user's mistake."""
        try:
            yield
        except UserError as error:
            raise CheckFailed(f"{self.path}: the export {options.kind} can't be used: {error}") from error

    def _explaining_model(self, contract: Contract, fold: bool) -> keras.Model:
        maps = [name for name in self.model.features if name.startswith("attention_")]
        if not maps:
            raise UserError("--explain: this model has no spatial attention, and so no attention maps.")
        return inference_model(self.model, contract.branches, features=maps, folded=fold)

    def _calibration(self, options: ExportOptions, contract: Contract) -> list[np.ndarray]:
        """Train photos as the file takes them, stratified over classes."""
        count = options.calibration_photos or CALIBRATION_PHOTOS
        checked = self._checked("train", stratified(self.data.photos("train"), count))
        return self._views(checked, contract, "reading calibration photos")

    def _views(self, checked: CheckedPhotos, contract: Contract, description: str) -> list[np.ndarray]:
        view = View(contract.input_size, contract.resize_size, contract.resize_mode)
        batches = evaluation_batches(PhotoReader(checked, view), checked.labels, 1)
        with self.progress.track(description, len(checked.photos)) as advance:
            photos = []
            for batch, _, _ in batches:
                photos.append(batch[0].numpy())
                advance()
        return photos

    @cached_property
    def _answers(self) -> dict[str, np.ndarray]:
        """The Keras model's probabilities by branch."""
        count = len(self.photos.photos)
        batches = evaluation_batches(PhotoReader(self.photos, model_view(self.model)), self.photos.labels, _BATCH_SIZE)
        with self.progress.track("running the Keras model", -(-count // _BATCH_SIZE)) as advance:
            answers = branch_probabilities(self.model, batches, count, on_batch=advance)
        if not all(np.isfinite(values).all() for values in answers.values()):
            raise CheckFailed(f"{self.path}: the model answers NaN; it can't be exported.")
        return answers

    def _checked(self, split: str, photos: Sequence[Photo]) -> CheckedPhotos:
        return check_noted(self.data, split, photos, self.progress)
