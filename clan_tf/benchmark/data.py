"""How fast the parts are on this machine, always compared with a bound or a peer measured in the same run."""

import itertools
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import tensorflow as tf

from clan_tf.config import AugmentationConfig, Experiment, with_values
from clan_tf.config.section import AUTO
from clan_tf.data import read_source
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.graph_decoding import decode_in_graph, decode_outside_graph
from clan_tf.data.pipeline import PhotoReader, open_reader, training_batches, training_view
from clan_tf.data.pipeline.cache import decide_cache
from clan_tf.data.pipeline.pipeline import finish
from clan_tf.data.pipeline.reading import Reader, without_autograph
from clan_tf.data.sources.content import read_content
from clan_tf.errors import UserError
from clan_tf.in_parallel import cores
from clan_tf.limits import AUTO_BATCH_SIZE
from clan_tf.progress import Progress

DECODING, PIPELINE, CACHED, LOADER = "decoding alone", "pipeline", "pipeline, cached", "PyTorch DataLoader + Pillow"
_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Rate:
    """Photos per second of one contender.

    Attributes:
        median: over the rounds.
        lowest: of the slowest round.
        highest: of the fastest round.
        of_decoding: the median over the rounds of its ratio to `decoding alone` in the same round.
    """

    median: float
    lowest: float
    highest: float
    of_decoding: float


@dataclass(frozen=True)
class DataBenchmark:
    """How fast photos are prepared for training.

    Attributes:
        photos: how many different photos were read.
        cores: processor cores that could be used.
        median_size: median height and width of the photos, and median bytes of an encoded one.
        rates: by contender; all took turns, round by round.
        cached_of_torch: how many times as fast as PyTorch's the cached pipeline was; `None` without PyTorch.
        pipeline_of_torch: the same without the cache.
        notes: how the rates were measured, and why PyTorch's wasn't, if so.
    """

    photos: int
    cores: int
    median_size: tuple[int, int, int]
    rates: Mapping[str, Rate]
    pipeline_of_torch: float | None
    cached_of_torch: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, as `benchmark data --json` prints them."""
        return {
            "photos": self.photos,
            "cores": self.cores,
            "median_size": dict(zip(("height", "width", "bytes"), self.median_size, strict=True)),
            "photos_per_second": {name: vars(rate) for name, rate in self.rates.items()},
            "pipeline_of_torch": self.pipeline_of_torch,
            "cached_of_torch": self.cached_of_torch,
            "notes": list(self.notes),
        }


def benchmark_data(
    experiment: Experiment, photos: int = 512, seconds: float = 3.0, rounds: int = 5, progress: Progress | None = None
) -> DataBenchmark:
    """Measures photos per second of the training pipeline, of decoding alone and, if torch is installed, of PyTorch's.

    The contenders take turns for `seconds` each, so that a machine whose speed drifts is fair to all. Where there is no
    GPU, TensorFlow's op determinism is on, as in training; it stays on for the whole process.

    Args:
        experiment: whose train photos are read, as in its training.
        photos: how many of them.
        seconds: how long a contender runs in a round.
        rounds: how many rounds.
        progress: where progress is shown.

    Raises:
        UserError: if the photos can't be read or don't fit into memory.
    """
    progress = progress or Progress()
    source = read_source(experiment.data)
    checked = check_splits({"train": source.photos("train")[:photos]}, experiment.data, progress)["train"]
    if experiment.training.batch_size == AUTO:
        experiment = with_values(experiment, {"training.batch_size": min(AUTO_BATCH_SIZE, len(checked.photos))})
    if experiment.training.batch_size > len(checked.photos):
        raise UserError(
            f"training.batch_size: {experiment.training.batch_size} is more than the {len(checked.photos)} photos to "
            "be read. Use --photos or a smaller batch."
        )
    notes = [_deterministic()]
    without_torch = why_no_torch(experiment)
    if without_torch:
        notes.append(f"PyTorch's DataLoader isn't measured: {without_torch}.")
    with ExitStack() as stack:
        contenders = _contenders(checked, len(source.class_names), experiment, progress)
        if not without_torch:
            from clan_tf.benchmark.torch_pipeline import torch_batches

            contenders[LOADER] = stack.enter_context(torch_batches(checked, experiment, workers=cores()))
        rates = _measure(contenders, seconds, rounds, progress)
    return DataBenchmark(
        len(checked.photos), cores(), _median_size(checked), _summaries(rates), *_times_as_fast(rates), tuple(notes)
    )


def why_no_torch(experiment: Experiment) -> str | None:
    """Explains why the PyTorch peer isn't measured, or `None` if it is."""
    if not find_spec("torch"):
        return "it isn't installed (pip install torch)"
    if experiment.data.augmentation != AugmentationConfig():
        return "its photos wouldn't be augmented (data.augmentation)"
    return None


def _deterministic() -> str:
    """Turns on op determinism where training on this machine does, and returns a note on it."""
    if tf.config.list_logical_devices("GPU"):
        return "TensorFlow's op determinism is off, as in training on a GPU."
    tf.config.experimental.enable_op_determinism()
    return "TensorFlow's op determinism is on, as in training on a CPU."


def _contenders(
    checked: CheckedPhotos, classes: int, experiment: Experiment, progress: Progress
) -> dict[str, Iterator[int]]:
    """Returns endless iterators by name, which prepare photos and yield how many."""
    view = training_view(experiment.data)
    endless = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": _ENDLESS})})

    def batches(reader: Reader) -> Iterator[int]:
        dataset = training_batches(reader, checked.labels, classes, endless)
        return (int(images.shape[0]) for images, _ in dataset)

    cached = open_reader(checked, view, decide_cache([checked], view, "memory", uses=_ENDLESS), progress.track)
    return {
        DECODING: _decoding(checked, experiment.training.batch_size),
        PIPELINE: batches(PhotoReader(checked, view)),
        CACHED: batches(cached),
    }


def _decoding(checked: CheckedPhotos, batch_size: int) -> Iterator[int]:
    """Runs TensorFlow's libjpeg-turbo (or other decoder) on encoded photos in memory, on all cores.

    Where TensorFlow gives different pixels for some photos, the decoder that the pipeline uses for those is run.
    """
    in_graph = [facts.same_in_graph for facts in checked.facts]
    decode = decode_in_graph if all(in_graph) else decode_outside_graph
    contents = tf.constant([read_content(photo) for photo in checked.photos])

    def decoded_pixels(index: tf.Tensor) -> tf.Tensor:
        # Only a number leaves the call: batches of photos of any size would be another cost.
        return tf.size(decode(contents[index % len(checked.photos)]))

    sizes = (
        tf.data.Dataset.range(_ENDLESS * batch_size)
        .map(without_autograph(decoded_pixels), tf.data.AUTOTUNE)
        .batch(batch_size)
    )
    return (int(batch.shape[0]) for batch in finish(sizes))


def _measure(
    contenders: Mapping[str, Iterator[int]], seconds: float, rounds: int, progress: Progress
) -> dict[str, list[float]]:
    for iterator in contenders.values():
        next(iterator)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    with progress.track("measuring", rounds * len(contenders)) as advance:
        for _, (name, iterator) in itertools.product(range(rounds), contenders.items()):
            rates[name].append(_rate(iterator, seconds))
            advance(name)
    return rates


def _rate(iterator: Iterator[int], seconds: float) -> float:
    """Measures photos per second, after using up what was prepared while the others ran."""
    _count(iterator, seconds / 3)
    return _count(iterator, seconds)


def _count(iterator: Iterator[int], seconds: float) -> float:
    started, photos = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        photos += next(iterator)
    return photos / elapsed


def _summaries(rates: Mapping[str, list[float]]) -> dict[str, Rate]:
    return {
        name: Rate(statistics.median(values), min(values), max(values), _median_ratio(values, rates[DECODING]))
        for name, values in rates.items()
    }


def _times_as_fast(rates: Mapping[str, list[float]]) -> tuple[float | None, float | None]:
    if LOADER not in rates:
        return None, None
    return _median_ratio(rates[PIPELINE], rates[LOADER]), _median_ratio(rates[CACHED], rates[LOADER])


def _median_ratio(values: list[float], others: list[float]) -> float:
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def _median_size(checked: CheckedPhotos) -> tuple[int, int, int]:
    sizes = np.concatenate([checked.upright_sizes, [[len(read_content(photo))] for photo in checked.photos]], axis=1)
    height, width, length = np.median(sizes, axis=0).astype(int).tolist()
    return height, width, length
