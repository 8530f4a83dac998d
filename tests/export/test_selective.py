"""Layers that quantization harms most stay in float32."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from clan_tf.errors import CheckFailed, UserError
from clan_tf.export import ExportOptions, export
from clan_tf.export.bias_correction import BiasCorrection
from clan_tf.export.flatbuffer import read_tflite
from clan_tf.export.gate import Limits
from clan_tf.export.metadata import with_metadata
from clan_tf.export.pruning import inference_model
from clan_tf.export.selective import SelectiveQuantizer, layers_that_locate
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.models import CLAN, BranchClassifier
from clan_tf.models.ensemble import Ensemble
from clan_tf.models.ra_cnn import RACNN
from clan_tf.models.tasn import TASN
from clan_tf.run import RunDirectory
from clan_tf.runtime import ExportedModel
from helpers.exports import PHOTOS, RESIZE, contract_of, keras_answers


@pytest.mark.parametrize("quantization", [pytest.param("float16", marks=pytest.mark.soak), "dynamic", "int8"])
def test_layers_that_suffer_can_stay_float32(
    models: dict[str, BranchClassifier], quantization: str, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_quantizer")
    model = models["embedded_gaussian"]
    pruned = inference_model(model, model.branches)
    float_file = classifier_to_tflite(pruned, RESIZE, io="uint8")
    quantizer = SelectiveQuantizer(float_file, pruned, contract_of(model), quantization, PHOTOS[:6])
    ranked = quantizer.ranked_layers(PHOTOS[:6])
    assert sorted(ranked) == sorted(quantizer.layers) and "clca_mid_1" in ranked and "stage1_conv1" in ranked
    expected = keras_answers(model)

    def error(kept: list[str]) -> float:
        path = tmp_path / "birds.tflite"
        path.write_bytes(with_metadata(quantizer.quantize(kept), "birds", contract_of(model), "a test"))
        with ExportedModel(path) as exported:
            answers = exported(PHOTOS)["probabilities"]
        assert (answers * 256 % 1 > 0).any()  # not the steps of an int8
        return float(np.abs(answers - expected).mean())

    whole = error([])
    assert error(ranked) < whole / 2
    assert error(ranked[:8]) < whole
    if quantization != "dynamic":  # once is enough
        return
    kept = {name for name in operators_with_integers(quantizer.quantize(["tiny"])) if "/tiny" in name}
    assert not kept and operators_with_integers(quantizer.quantize([]))
    labels = expected.argmax(axis=1)
    choices = list(quantizer.layers_to_keep(ranked, list(PHOTOS), labels, Limits()))
    assert choices == [ranked[:count] for count in (1, 2, 3, 5, 8, 12, 18, 27)[: len(choices)]]
    assert len(ranked) / 4 < len(choices[-1]) <= len(ranked) / 2
    # Where no choice is good enough, only the last one is left.
    assert list(quantizer.layers_to_keep(ranked, list(PHOTOS), labels, Limits(difference=0.0))) == [choices[-1]]


def operators_with_integers(file: bytes) -> set[str]:
    """The names of the outputs of operators whose weights are int8."""
    (graph,) = read_tflite(file).subgraphs
    return {
        graph.tensors[operator.outputs[0]].name.decode()
        for operator in graph.operators
        if any(graph.tensors[number].type == schema.TensorType.INT8 for number in operator.inputs[1:] if number >= 0)
    }


def test_the_search_begins_with_the_first_layers_that_are_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers a, b and c do the same harm; c is much larger, d does none. A file stands for the layers it keeps."""
    harm, size = {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.0}, {"a": 10, "b": 30, "c": 200, "d": 40}
    quantizer = object.__new__(SelectiveQuantizer)
    quantizer.layers, quantizer._file, quantizer._locating = list(harm), [*harm], [["a", "d"]]

    def answers(file: Kept, photos: object) -> np.ndarray:
        lost = sum(harm[name] for name in harm if name not in file)
        return np.array([[0.9 - lost, 0.1 + lost]])

    monkeypatch.setattr(quantizer, "quantize", lambda kept: Kept(kept, 1000 + sum(size[name] for name in kept)))
    monkeypatch.setattr(quantizer, "_answers", answers)
    assert quantizer.ranked_layers([]) == ["a", "b", "c", "d"]
    size["a"] = 300  # larger than c now
    assert quantizer.ranked_layers([]) == ["b", "c", "a", "d"]
    label = np.array([0])
    for largest, first in ((0.35, 1), (0.25, 1), (0.15, 2)):
        choices = list(quantizer.layers_to_keep(["a", "b", "c", "d"], [], label, Limits(difference=largest)))
        assert choices[0] == ["a", "b", "c", "d"][:first], largest
    # What chooses where to look is the last resort.
    assert [*quantizer.layers_to_keep(["a", "b", "c", "d"], [], label, Limits(difference=0.05))] == [["a", "d"]]


def test_layers_that_choose_where_to_look_are_known(rng: np.random.Generator) -> None:
    """Each of RA-CNN's squares is chosen by one more network, TASN's only sampling by its attention network."""
    found = {}
    for model in (RACNN("tiny", 3, 64, proposal_units=64), TASN("tiny", 3, 64), CLAN("tiny", 3, 64)):
        found[type(model)] = layers_that_locate(inference_model(model, model.branches))
    squares = {"square_2", "crop_2", "square_3", "crop_3"}
    assert [set(each) for each in found[RACNN]] == [{"tiny", *squares}, {"tiny", "tiny_scale_2", *squares}]
    (names,) = found[TASN]
    assert {"tiny_attention", "trilinear_attention", "sample_structure"} <= set(names) and "tiny" not in names
    assert found[CLAN] == []
    both = Ensemble([RACNN("tiny", 3, 64, proposal_units=64), RACNN("tiny", 3, 64, proposal_units=64)])
    assert [set(each) for each in layers_that_locate(inference_model(both, both.branches))] == [
        set(each) for each in found[RACNN]
    ]


class Kept(list):
    """The layers that a file keeps, with the length of the file."""

    def __init__(self, layers: list[str], length: int) -> None:
        super().__init__(layers)
        self._length = length

    def __len__(self) -> int:
        return self._length


def test_an_int8_export_that_loses_too_much_keeps_layers_in_floats(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ai_edge_quantizer")
    monkeypatch.setattr(
        SelectiveQuantizer,
        "layers_to_keep",
        lambda *arguments: iter([["logits_top"], ["logits_top", "logits_mid_1"], ["combined"]]),
    )
    made: list[str] = []
    monkeypatch.setattr(BiasCorrection, "correct", lambda correction, file: made.append("corrected") or file)
    quantize = SelectiveQuantizer.quantize
    monkeypatch.setattr(SelectiveQuantizer, "quantize", lambda *arguments: made.append("file") or quantize(*arguments))
    # The first files are made to fail, so that the third is wanted.
    outcomes = iter([("too much",), ("too much",), ()])
    monkeypatch.setattr("clan_tf.export.gate.failed_limits", lambda figures, limits: next(outcomes))
    options = ExportOptions("tflite", "int8", calibration_photos=6)
    with monkeypatch.context() as patch:
        # Each layer's own file takes most of the time; the order is tested above.
        patch.setattr(SelectiveQuantizer, "ranked_layers", lambda quantizer, *others: quantizer.layers)
        result = export(str(run.path), options, str(tmp_path / "out"), samples=3)
    written = json.loads((result.folder / "export.json").read_text(encoding="utf-8"))
    assert written["options"]["keep_float"] == ["logits_top", "logits_mid_1"]
    # Each file of the search is corrected, and so is the first one, by TensorFlow's converter.
    assert made.count("corrected") == made.count("file") + 1
    with pytest.raises(UserError, match="no layer 'logits_tpo'. Did you mean logits_top"):
        export(str(run.path), replace(options, keep_float=("logits_tpo",)), str(tmp_path / "other"))
    # A file that makes the runtime abort ends a process of its own.
    monkeypatch.setattr("clan_tf.export.gate.failed_limits", lambda figures, limits: ("too much",))
    monkeypatch.setattr(SelectiveQuantizer, "quantize", lambda *arguments: b"damaged")
    with pytest.raises(CheckFailed, match="tflite-int8 can't be used: .*candidate.tflite: can't be run"):
        export(str(run.path), options, str(tmp_path / "other"), samples=3)
    assert not (tmp_path / "other").exists()
