"""Writing a trained model in every format."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from clan_tf.choices import chosen_weights
from clan_tf.errors import UserError
from clan_tf.export.bias_correction import BiasCorrection
from clan_tf.export.comparison import Comparison
from clan_tf.export.gate import Limits
from clan_tf.export.metadata import with_metadata
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.options import CALIBRATED, LOSSY, ExportOptions
from clan_tf.export.pruning import inference_model
from clan_tf.export.requirements import require_lines
from clan_tf.export.sampling import stratified_indices
from clan_tf.export.saved_model import write_servable
from clan_tf.export.selective import SelectiveQuantizer, require_layers
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.inference.predictor import choose_branches, rejection_of
from clan_tf.models import save_model
from clan_tf.rejection import Rejection
from clan_tf.runtime import Contract
from clan_tf.runtime.contract import contract_taxonomy, contract_temperatures

CALIBRATION_PHOTOS, CORRECTION_PHOTOS, SEARCH_PHOTOS, RANKING_PHOTOS = 200, 50, 200, 24
"""How many photos give the ranges of activations, correct biases (means over photos and positions need fewer), decide
how many layers stay in float32, and rank the layers."""


class ExportWriter:
    """Writes exports of one model; photos of its data calibrate quantized files.

    Args:
        source: the model and its photos.
    """

    def __init__(self, source: Comparison) -> None:
        self._source = source
        self._model = source.model
        self._quantizers: dict[ExportOptions, SelectiveQuantizer] = {}
        self._float_files: dict[ExportOptions, bytes] = {}
        self._calibration_views: dict[tuple[int, int | None], list[np.ndarray]] = {}
        self._corrections: dict[tuple[ExportOptions, int | None], BiasCorrection] = {}
        self._pruned: dict[tuple[Any, ...], keras.Model] = {}

    def contract(self, options: ExportOptions) -> Contract:
        """Describes an export: its labels, preprocessing and branches.

        Raises:
            UserError: if a branch isn't one of the model's, or a class name has several lines.
        """
        model = self._model
        branches = choose_branches(model.branches, options.branches, model.branch_weights)
        require_lines(self._source.path, model.class_names)
        # Phone libraries stretch photos to the file's size: they pass the whole photo, and the file crops the centre.
        whole_size = model.resize_size if model.resize_mode == "stretch" else model.image_size
        sizes = {"saved_model": None, "keras": model.image_size, "tflite": whole_size, "onnx": whole_size}
        return Contract(
            class_names=tuple(model.class_names),
            image_size=model.image_size,
            resize_size=model.resize_size,
            resize_mode=model.resize_mode,
            input_size=sizes[options.format],
            branches=branches,
            combination=model.combination,
            per_branch=options.per_branch,
            branch_weights=chosen_weights(branches, model.branch_weights) or (),
            temperatures=contract_temperatures(branches, model.temperatures),
            rejection=self._rejection_of(branches)[0],
            taxonomy=contract_taxonomy(model.taxonomy),
        )

    def lost_rejection(self, contract: Contract) -> str | None:
        """Says why an export doesn't withhold the answers that the model does; `None` if it does as the model does."""
        return self._rejection_of(contract.branches)[1]

    def _rejection_of(self, branches: Sequence[str]) -> tuple[Rejection | None, str | None]:
        model = self._model
        usual = choose_branches(model.branches, None, model.branch_weights)
        return rejection_of(branches, usual, model.rejection)

    def write(self, options: ExportOptions, contract: Contract, folder: Path) -> Path:
        """Writes the file into a folder, and returns its path."""
        if options.format == "keras":
            save_model(self._model, folder / f"{self._source.name}.keras")
            return folder / f"{self._source.name}.keras"
        maps = self._attention_maps() if options.explain else []
        pruned = self._inference_model(contract.branches, options.per_branch, tuple(maps), options.fold)
        if options.format == "saved_model":
            write_servable(pruned, contract, folder / self._source.name / "1", maps, options.io or "uint8")
            return folder / self._source.name
        path = folder / f"{self._source.name}.{options.format}"
        if options.format == "onnx":
            path.write_bytes(classifier_to_onnx(pruned, contract, options.io or "uint8"))
            return path
        path.write_bytes(with_metadata(self._tflite(pruned, options, contract), self._source.name, contract, "clan-tf"))
        return path

    def layers_to_keep(self, options: ExportOptions, contract: Contract) -> Iterator[Sequence[str]]:
        """Yields more and more layers to keep in float32, starting with as many as needed on photos not compared."""
        pruned = self._inference_model(contract.branches, False, (), options.fold)
        quantizer = self._selective(pruned, options, contract)
        split = "val" if self._source.split == "test" else "train"
        checked = self._source.sample(split, SEARCH_PHOTOS)
        views = self._source.views(checked, contract, f"reading {split} photos")
        few = [views[index] for index in stratified_indices(checked.labels.tolist(), RANKING_PHOTOS)]
        with self._source.own_files(options):
            with self._source.progress.track("looking for sensitive layers", len(quantizer.layers)) as advance:
                ranked = quantizer.ranked_layers(few, advance)
            yield from quantizer.layers_to_keep(
                ranked, views, checked.labels, Limits.of(options, self._model.ROUNDING, self._model.sharpness)
            )

    def _inference_model(self, *how: Any) -> keras.Model:
        """Makes each model once: Keras keeps those that share layers as long as the layers."""
        if how not in self._pruned:
            self._pruned[how] = inference_model(self._model, *how)
        return self._pruned[how]

    def _tflite(self, pruned: keras.Model, options: ExportOptions, contract: Contract) -> bytes:
        if options.quantize == "none":
            return self._float_file(pruned, options, contract)
        if options.keep_float:
            require_layers(options.keep_float, pruned)
            return self._selective(pruned, options, contract).quantize(options.keep_float)
        calibration = self._calibration(options, contract) if options.quantize in CALIBRATED else ()
        io = options.io or "float32"
        file = classifier_to_tflite(pruned, contract.input_size, options.quantize, io, options.any_batch, calibration)
        correction = self._correction(pruned, options, contract)
        return correction.correct(file) if correction else file

    def _selective(self, pruned: keras.Model, options: ExportOptions, contract: Contract) -> SelectiveQuantizer:
        key = replace(options, keep_float=())
        if key not in self._quantizers:
            calibration = self._calibration(options, contract) if options.quantize in CALIBRATED else ()
            self._quantizers[key] = SelectiveQuantizer(
                self._float_file(pruned, options, contract),
                pruned,
                contract,
                options.quantize,
                calibration,
                self._correction(pruned, options, contract),
            )
        return self._quantizers[key]

    def _correction(self, pruned: keras.Model, options: ExportOptions, contract: Contract) -> BiasCorrection | None:
        """Returns what corrects the biases of files with integer weights; `None` for others.

        With weights alone as integers a file can also be made where there are no train photos.
        """
        if options.quantize not in LOSSY:
            return None
        key = (_float_options(options), options.calibration_photos)
        if key not in self._corrections:
            try:
                count = min(CORRECTION_PHOTOS, options.calibration_photos or CALIBRATION_PHOTOS)
                photos = self._train_views(count, contract)
            except UserError as error:
                if options.quantize in CALIBRATED:
                    raise
                self._source.progress.note(
                    f"{options.kind}: the rounding of weights isn't corrected in biases. {error}"
                )
                return None
            file = self._float_file(pruned, options, contract)
            with self._source.progress.track("measuring activations", len(photos)) as advance:
                self._corrections[key] = BiasCorrection(file, photos, advance)
        return self._corrections[key]

    def _float_file(self, pruned: keras.Model, options: ExportOptions, contract: Contract) -> bytes:
        key = _float_options(options)
        if key not in self._float_files:
            io = options.io or "float32"
            self._float_files[key] = classifier_to_tflite(pruned, contract.input_size, "none", io, options.any_batch)
        return self._float_files[key]

    def _attention_maps(self) -> list[str]:
        maps = [name for name in self._model.features if name.startswith("attention_")]
        if not maps:
            raise UserError("--explain: this model has no attention maps.")
        return maps

    def _calibration(self, options: ExportOptions, contract: Contract) -> list[np.ndarray]:
        return self._train_views(options.calibration_photos or CALIBRATION_PHOTOS, contract)

    def _train_views(self, count: int, contract: Contract) -> list[np.ndarray]:
        """Returns train photos as input of the file, stratified over classes; they are read once."""
        if (count, contract.input_size) not in self._calibration_views:
            checked = self._source.sample("train", count)
            views = self._source.views(checked, contract, "reading calibration photos")
            self._calibration_views[count, contract.input_size] = views
        return self._calibration_views[count, contract.input_size]


def _float_options(options: ExportOptions) -> ExportOptions:
    """Returns the options of the float32 file that a quantized one is made from."""
    return replace(options, quantize="none", keep_float=(), calibration_photos=None, max_drop=None, min_agreement=None)
