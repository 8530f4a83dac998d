"""Writing a trained model in every format."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from clan_tf.choices import chosen_weights
from clan_tf.errors import UserError
from clan_tf.export.comparison import Comparison
from clan_tf.export.gate import Limits
from clan_tf.export.metadata import with_metadata
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.options import CALIBRATED, ExportOptions
from clan_tf.export.pruning import inference_model
from clan_tf.export.requirements import require_lines
from clan_tf.export.saved_model import write_servable
from clan_tf.export.selective import SelectiveQuantizer, require_layers
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.inference.predictor import choose_branches
from clan_tf.models import save_model
from clan_tf.runtime import Contract
from clan_tf.runtime.contract import contract_taxonomy, contract_temperatures

CALIBRATION_PHOTOS, SEARCH_PHOTOS, RANKING_PHOTOS = 200, 200, 24
"""How many photos calibrate the range of activations, decide how many layers stay in float32, and rank the layers."""


class ExportWriter:
    """Writes exports of one model; photos of its data calibrate quantized files.

    Args:
        source: the model and its photos.
    """

    def __init__(self, source: Comparison) -> None:
        self._source = source
        self._model = source.model
        self._quantizers: dict[ExportOptions, SelectiveQuantizer] = {}
        self._pruned: dict[tuple[Any, ...], keras.Model] = {}

    def contract(self, options: ExportOptions) -> Contract:
        """Describes an export: its labels, preprocessing and branches.

        Raises:
            UserError: if a branch isn't one of the model's, or a class name has several lines.
        """
        model = self._model
        usual = model.branches, None, model.branch_weights
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
            # Thresholds hold for the combination that they were fitted to.
            rejection=model.rejection if set(branches) == set(choose_branches(*usual)) else None,
            taxonomy=contract_taxonomy(model.taxonomy),
        )

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
        few = views[:: -(-len(views) // RANKING_PHOTOS)]
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

    def _attention_maps(self) -> list[str]:
        maps = [name for name in self._model.features if name.startswith("attention_")]
        if not maps:
            raise UserError("--explain: this model has no attention maps.")
        return maps

    def _calibration(self, options: ExportOptions, contract: Contract) -> list[np.ndarray]:
        """Returns train photos as input of the file, stratified over classes."""
        count = options.calibration_photos or CALIBRATION_PHOTOS
        checked = self._source.sample("train", count)
        return self._source.views(checked, contract, "reading calibration photos")
