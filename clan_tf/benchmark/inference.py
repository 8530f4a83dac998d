"""How fast a network predicts, beside PyTorch and its own exported files."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from clan_tf.benchmark.comparison import Difference, output_difference, random_batch, require_same
from clan_tf.benchmark.floor import MATRIX_PRODUCT, floor_of, make_product, operations_of
from clan_tf.benchmark.memory import forget_peak, peak_bytes, peak_memory
from clan_tf.benchmark.peer import open_peer
from clan_tf.benchmark.prepared import Prepared, plain_of, prepare
from clan_tf.benchmark.profile import operator_times
from clan_tf.benchmark.result import OWN, PLAIN, TORCH, SpeedBenchmark, contenders_of, overhead_of
from clan_tf.benchmark.rounds import Seconds, measure_rounds
from clan_tf.config import Experiment, with_values
from clan_tf.errors import UserError
from clan_tf.models import COMBINED
from clan_tf.progress import Progress

COMPILED = f"{TORCH}, torch.compile"


def benchmark_inference(
    experiment: Experiment, calls: int = 10, rounds: int = 5, progress: Progress | None = None, exports: bool = False
) -> list[SpeedBenchmark]:
    """Measures predictions of one photo and of a batch in float32: by the Keras model, and by PyTorch.

    Beside CLAN, its plain backbone is measured.

    Args:
        experiment: whose network and batch size are measured. No photos are read.
        calls: how many predictions a contender makes in a round.
        rounds: how many rounds.
        progress: where progress is shown.
        exports: whether one photo is predicted by the network's exported files, too.

    Returns:
        What was measured with one photo, then with `training.batch_size` photos, if those are more.

    Raises:
        UserError: if the experiment doesn't say how many classes there are, its model can't be built, or packages
            that `exports` needs are missing.
        CheckFailed: if PyTorch's network doesn't compute what clan-tf computes.
    """
    progress = progress or Progress()
    prepared = prepare(with_values(experiment, {"training.precision": "float32"}), progress, is_training=False)
    forget_peak()
    before = peak_bytes()
    sizes = sorted({1, prepared.experiment.training.batch_size})
    own = {size: _make_prediction(prepared, size) for size in sizes}
    memory = {}
    for size in sizes:
        own[size]()
        memory[size] = peak_memory(before)
    peer, note = open_peer(prepared, training=False)
    plain = plain_of(prepared)
    compared = compare_predictions(prepared, peer) if peer else []
    require_same(compared)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            contenders, notes = {OWN: own[size]}, [*prepared.notes, *([note] if note else [])]
            differences = list(compared)
            if peer:
                notes += _add_peer(contenders, differences, peer, prepared, size)
            if plain:
                contenders[PLAIN] = _make_prediction(plain, size)
            if exports and size == 1:
                notes += _add_exports(contenders, differences, prepared, Path(folder))
            seconds = _measure(contenders, calls, rounds, progress)
            results.append(
                SpeedBenchmark(
                    measured="prediction",
                    batch_size=size,
                    image_size=prepared.model.image_size,
                    classes=prepared.model.classes,
                    precision="float32",
                    contenders=contenders_of(seconds, list(contenders), size),
                    overhead=overhead_of(seconds, prepared, plain),
                    memory=memory[size],
                    floor=floor_of(seconds, OWN, operations_of(prepared.model, size, training=False)),
                    operators=operator_times(own[size]),
                    differences=tuple(differences),
                    notes=tuple(notes),
                )
            )
    return results


def compare_predictions(prepared: Prepared, peer: Any) -> list[Difference]:
    """Compares the logits of all branches, and `combined`, on a small batch."""
    model = prepared.model
    photos, _ = random_batch(model.image_size, model.classes, prepared.compared_photos, seed=1)
    names = [*(f"logits_{branch}" for branch in model.branches), COMBINED]
    outputs = model.with_outputs(names)(photos, training=False)
    own = {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
    return [output_difference(TORCH, own, peer.outputs(photos))]


def _make_prediction(prepared: Prepared, size: int) -> Callable[[], Any]:
    """Returns a function that computes `combined` of a batch as `predict` does with a Keras model."""
    model = prepared.model
    run = tf.function(lambda batch: model(batch, training=False)[COMBINED], autograph=False)
    photos = tf.constant(random_batch(model.image_size, model.classes, size)[0])
    return lambda: run(photos).numpy()


def _add_peer(
    contenders: dict[str, Callable[[], Any]], differences: list[Difference], peer: Any, prepared: Prepared, size: int
) -> list[str]:
    """Adds PyTorch's contenders, the compiled one compared first; returns a note if `torch.compile` doesn't work."""
    photos, _ = random_batch(prepared.model.image_size, prepared.model.classes, size)
    contenders[TORCH] = peer.make_prediction(photos)
    try:
        contenders[COMPILED] = peer.make_prediction(photos, compiled=True)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        return [f"torch.compile isn't measured: {reason}"]
    own, compiled = ({COMBINED: contenders[name]()} for name in (OWN, COMPILED))
    differences.append(output_difference(COMPILED, own, compiled))
    require_same(differences)
    return []


def _add_exports(
    contenders: dict[str, Callable[[], Any]], differences: list[Difference], prepared: Prepared, folder: Path
) -> list[str]:
    """Adds the exported files that predict as the model does; returns notes.

    Raises:
        UserError: if the packages that exports need aren't installed.
    """
    try:
        from clan_tf.benchmark.exported import ExportedContenders
    except ImportError as error:
        raise UserError(f"--exports: needs {error.name}: pip install clan-tf[export,onnx].") from error
    exported = ExportedContenders(prepared.model, folder)
    contenders.update(exported.calls)
    differences += exported.differences
    return exported.notes


def _measure(contenders: Mapping[str, Callable[[], Any]], calls: int, rounds: int, progress: Progress) -> Seconds:
    """Measures the contenders, and a matrix product beside them, after a call of each that isn't measured."""
    measured = {**contenders, MATRIX_PRODUCT: make_product("float32")}
    for call in measured.values():
        call()
    return measure_rounds(measured, calls, rounds, progress)
