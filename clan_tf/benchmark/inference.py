"""How fast a network predicts, beside PyTorch."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from clan_tf.benchmark.comparison import PHOTOS, Difference, output_difference, random_batch, require_same
from clan_tf.benchmark.floor import MATRIX_PRODUCT, floor_of, make_product, operations_of
from clan_tf.benchmark.memory import forget_peak, peak_bytes, peak_memory
from clan_tf.benchmark.peer import open_peer
from clan_tf.benchmark.prepared import Prepared, prepare
from clan_tf.benchmark.profile import operator_times
from clan_tf.benchmark.result import OWN, SpeedBenchmark, contenders_of
from clan_tf.benchmark.rounds import measure_rounds
from clan_tf.config import Experiment, with_values
from clan_tf.models import COMBINED
from clan_tf.progress import Progress

TORCH, COMPILED = "PyTorch", "PyTorch, torch.compile"


def benchmark_inference(
    experiment: Experiment, calls: int = 10, rounds: int = 5, progress: Progress | None = None
) -> list[SpeedBenchmark]:
    """Measures predictions of one photo and of a batch in float32: by the Keras model, and by PyTorch.

    Args:
        experiment: whose network and batch size are measured. No photos are read.
        calls: how many predictions a contender makes in a round.
        rounds: how many rounds.
        progress: where progress is shown.

    Returns:
        What was measured with one photo, then with `training.batch_size` photos, if those are more.

    Raises:
        UserError: if the experiment doesn't say how many classes there are, or its model can't be built.
        CheckFailed: if PyTorch's network computes something else.
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
    differences = compare_predictions(prepared, peer) if peer else []
    require_same(differences)
    results = []
    for size in sizes:
        contenders, notes = {OWN: own[size]}, [*prepared.notes, *([note] if note else [])]
        if peer:
            notes += _add_peer(contenders, peer, prepared, size)
        names = list(contenders)
        contenders[MATRIX_PRODUCT] = make_product("float32")
        for call in contenders.values():
            call()
        seconds = measure_rounds(contenders, calls, rounds, progress)
        results.append(
            SpeedBenchmark(
                "prediction",
                size,
                prepared.model.image_size,
                prepared.model.classes,
                "float32",
                contenders_of(seconds, names, size),
                memory[size],
                floor_of(seconds, OWN, operations_of(prepared.model, size, training=False)),
                operator_times(own[size]),
                tuple(differences),
                tuple(notes),
            )
        )
    return results


def compare_predictions(prepared: Prepared, peer: Any) -> list[Difference]:
    """Compares the logits of all branches, and `combined`, on a small batch."""
    model = prepared.model
    count = min(PHOTOS, prepared.experiment.training.batch_size)
    photos, _ = random_batch(model.image_size, model.classes, count, seed=1)
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


def _add_peer(contenders: dict[str, Callable[[], Any]], peer: Any, prepared: Prepared, size: int) -> list[str]:
    """Adds PyTorch's contenders; returns a note if `torch.compile` doesn't work here."""
    photos, _ = random_batch(prepared.model.image_size, prepared.model.classes, size)
    contenders[TORCH] = peer.make_prediction(photos)
    try:
        contenders[COMPILED] = peer.make_prediction(photos, compiled=True)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        return [f"torch.compile isn't measured: {reason}"]
    return []
