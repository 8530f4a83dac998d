"""The gate: an exported file's outputs must agree with the Keras model's, in the runtime that its users have."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.sources.content import read_content
from clan_tf.errors import counted
from clan_tf.export.batches import failed_batches
from clan_tf.export.decisions import Withholding, withholding, wrong_decisions
from clan_tf.export.encoded_photos import LOOKED_INTO, why_not_served
from clan_tf.export.options import ExportOptions
from clan_tf.in_parallel import cores
from clan_tf.inference import ExportedPredictor
from clan_tf.inference.views import views_of_contract
from clan_tf.photos import PhotoFacts, decode
from clan_tf.progress import Progress
from clan_tf.runtime import ExportedModel, Speed, are_in_top
from clan_tf.runtime.exported import PROBABILITIES, SERVE_BYTES
from clan_tf.text import printable

FLOAT32_DIFFERENCE, FLOAT16_DIFFERENCE = 1e-4, 5e-3
"""Maximum difference of a probability from the model's."""
DROP = 1.0
"""Maximum drop in accuracy of a lossy file, in percentage points."""
AGREEMENT = {"dynamic": 99.0, "int8": 98.0}
"""Minimum percentage of photos for which a lossy file must predict the same class."""
DECIDED_MARGIN = 1e-3
"""Photos whose two most probable classes are closer than this may swap them due to rounding."""
PREDICT = "predict"
"""Name of the outputs of `clan-tf predict`, among the names of outputs and signatures."""
PHOTOS_OF_A_KIND = 3
"""How many photos of every kind of file are also checked as `predict` reads them."""
VIEW_DIFFERENCE = 1
"""Maximum difference, in levels, between the views of `predict` and evaluation, which round differently."""


@dataclass(frozen=True)
class Limits:
    """The limits that a file must meet; `None` for no limit.

    Attributes:
        difference: the maximum difference of any probability. If set, the most probable class must be the same for all
            photos whose two most probable classes are further apart than `margin`.
        drop: the maximum drop in accuracy, in percentage points.
        agreement: the minimum percentage of photos with the same most probable class.
        margin: see `difference`.
    """

    difference: float | None = None
    drop: float | None = None
    agreement: float | None = None
    margin: float = DECIDED_MARGIN

    @classmethod
    def of(cls, options: ExportOptions, rounding: float = 1.0, sharpness: float = 1.0) -> "Limits":
        """Returns the limits for a file exported with these options.

        Args:
            options: the options.
            rounding: the model's `ROUNDING`, which raises the limit of float32 files.
            sharpness: the model's, which raises the limits of float32 and float16 files.
        """
        if options.quantize == "none":
            return cls._of_difference(rounding * sharpness * FLOAT32_DIFFERENCE)
        if options.quantize == "float16":
            return cls._of_difference(sharpness * FLOAT16_DIFFERENCE)
        agreement = AGREEMENT.get(options.quantize) if options.min_agreement is None else options.min_agreement
        return cls(drop=DROP if options.max_drop is None else options.max_drop, agreement=agreement)

    @classmethod
    def _of_difference(cls, difference: float) -> "Limits":
        # Both of two probabilities may differ.
        return cls(difference=difference, margin=max(DECIDED_MARGIN, 2 * difference))


@dataclass(frozen=True)
class GateReport:
    """The comparison of a file's outputs with the Keras model's on the same photos.

    Attributes:
        photos: how many photos.
        agreement: share of photos with the same most probable class, 0…1.
        decided_agreement: the same for the photos that rounding can't change.
        keras_accuracy: top-1 accuracy of the Keras model, 0…1.
        accuracy: top-1 accuracy of the file, 0…1.
        largest_difference: largest difference of any probability, including single branches and further signatures.
        largest_in: the output or signature with that difference.
        mean_difference: mean difference of all probabilities.
        not_served: how many photos weren't sent to `serve_bytes`, because it refuses them with a reason.
        bytes: size of the file or folder in bytes.
        speeds: measured speeds for one photo, one per number of threads.
        failures: a sentence for each limit that isn't met.
        limits: the required limits.
        withholding: what the reject option does; `None` if the file has none.
    """

    photos: int
    agreement: float
    decided_agreement: float
    keras_accuracy: float
    accuracy: float
    largest_difference: float
    largest_in: str
    mean_difference: float
    not_served: int
    bytes: int
    speeds: tuple[Speed, ...]
    failures: tuple[str, ...]
    limits: Limits
    withholding: Withholding | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, as in `export.json`; `passed` is `None` if there are no limits."""
        values = asdict(self)
        if not self.withholding:
            del values["withholding"]
        return {**values, "passed": not self.failures if self.limits != Limits() else None}

    def describe_failure(self) -> str:
        """Describes the limits that aren't met, line by line, and all measurements."""
        figures = (
            f"{counted(self.photos, 'photo')}, same most probable class for {100 * self.agreement:.2f} %, accuracy "
            f"{100 * self.accuracy:.2f} % (Keras {100 * self.keras_accuracy:.2f} %), largest difference "
            f"{self.largest_difference:.2g}, mean {self.mean_difference:.2g}"
        )
        failures = "".join(f"  {failure}\n" for failure in self.failures)
        return f"doesn't agree with the model, and wasn't kept:\n{failures}  {figures}"


def check_file(
    open_file: Callable[[int], ExportedModel],
    checked: CheckedPhotos,
    expected: Mapping[str, np.ndarray],
    limits: Limits,
    threads: Sequence[int] = (),
    seconds: float = 1.0,
    progress: Progress | None = None,
    takes_batches: bool = False,
) -> GateReport:
    """Runs photos through an exported file and compares its outputs.

    Args:
        open_file: opens the file in its own process with the given number of threads.
        checked: the photos.
        expected: the Keras model's probabilities by output of the file and, for a SavedModel, by further signature that
            must agree, float32 `(photos, classes)`.
        limits: the limits to meet.
        threads: the numbers of threads with which speed is measured; 1 and all if empty.
        seconds: how long speed is measured for each.
        progress: where progress is shown.
        takes_batches: whether the file must answer several photos at once as one by one.
    """
    progress = progress or Progress()
    signatures = [name for name in expected if not name.startswith(PROBABILITIES)]
    counts = tuple(threads) or tuple(dict.fromkeys((1, cores())))
    not_served = _not_served(checked) if SERVE_BYTES in signatures else {}
    for reason, photos in Counter(not_served.values()).items():
        progress.note(f"{SERVE_BYTES} isn't compared on {counted(photos, 'photo')}: {reason}")
    speeds = []
    for count in counts:
        with open_file(count) as model:
            predictor = ExportedPredictor(model, model.path)
            photo = next(iter(views_of_contract(model.contract, checked)))
            speeds.append(model.measure(photo[None], seconds))
            if count == counts[-1]:
                with progress.track("comparing photos", len(checked.photos)) as advance:
                    answers = predictor.outputs(checked, advance, signatures, not_served)
                answers[PREDICT], wrong = _as_predict_sees(predictor, checked, answers[PROBABILITIES].shape[1])
                file, rejection = model.path, model.contract.rejection
                if file.is_dir():
                    wrong += wrong_decisions(answers, signatures, rejection)
                if takes_batches:
                    most = FLOAT16_DIFFERENCE if limits.difference is None else limits.difference
                    wrong += failed_batches(model, photo, signatures, most)
    own, other = expected[PROBABILITIES], answers[PROBABILITIES]
    figures = compare({**expected, PREDICT: own}, answers, checked.labels, limits.margin)
    return GateReport(
        photos=len(checked.photos),
        **figures,
        not_served=len(not_served),
        bytes=file_bytes(file),
        speeds=tuple(speeds),
        failures=(*failed_limits(figures, limits), *(wrong if limits != Limits() else ())),
        limits=limits,
        withholding=withholding(rejection, own, other, checked.labels) if rejection else None,
    )


def _not_served(checked: CheckedPhotos) -> dict[int, str]:
    """Returns the index of each photo that `serve_bytes` refuses, and why."""
    reasons = (
        why_not_served(read_content(photo) if facts.format in LOOKED_INTO else b"", facts)
        for photo, facts in zip(checked.photos, checked.facts, strict=True)
    )
    return {index: reason for index, reason in enumerate(reasons) if reason}


def _as_predict_sees(
    predictor: ExportedPredictor, checked: CheckedPhotos, classes: int
) -> tuple[np.ndarray, list[str]]:
    """Predicts a few photos of every kind of file with `predict`'s own decoder, orientation, preprocessing and batches.

    Returns:
        Probabilities `(photos, classes)`, NaN for photos that aren't predicted; and a sentence for each photo of which
        `predict` sees other pixels than evaluation. Photos with boxes aren't predicted: `predict` takes whole photos.
        For files that resize photos themselves, only the probabilities matter: evaluation decodes them as `predict`.
    """
    answers, failures = np.full((len(checked.photos), classes), np.nan, "float32"), []
    asked = _few_of_each_kind(checked)
    few = checked.subset(asked)
    is_compared = bool(asked) and predictor.contract.input_size is not None
    views = views_of_contract(predictor.contract, few) if is_compared else [None] * len(asked)
    together = []
    for index, photo, view in zip(asked, few.photos, views, strict=True):
        seen = predictor.view(decode(read_content(photo)).upright)
        if view is not None and _differ(seen, view):
            failures.append(f"predict sees other pixels of {printable(photo.name)} than evaluation does")
        if is_compared:
            together.append(seen)
        else:  # whole photos fill the memory
            answers[index] = predictor.probabilities([seen])[0]
    for start in range(0, len(together), predictor.batch_size):
        batch = slice(start, start + predictor.batch_size)
        answers[asked[batch]] = predictor.probabilities(together[batch])
    return answers, failures


def _differ(seen: np.ndarray, view: np.ndarray) -> bool:
    return seen.shape != view.shape or np.abs(seen.astype(int) - view).max() > VIEW_DIFFERENCE


def _few_of_each_kind(checked: CheckedPhotos) -> list[int]:
    """Returns the indices of the first photos of every format, mode, depth, orientation and way of decoding."""
    kinds: Counter[tuple[Any, ...]] = Counter()
    chosen = []
    for index, (photo, facts) in enumerate(zip(checked.photos, checked.facts, strict=True)):
        kind = _kind(facts)
        if photo.box is None and kinds[kind] < PHOTOS_OF_A_KIND:
            kinds[kind] += 1
            chosen.append(index)
    return chosen


def _kind(facts: PhotoFacts) -> tuple[Any, ...]:
    is_animated = facts.frames > 1
    return facts.format, facts.mode, facts.is_deep, facts.orientation, is_animated, facts.same_in_graph


def file_bytes(path: Path) -> int:
    """Returns the size of a file, or of all files in a folder, in bytes."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def compare(
    expected: Mapping[str, np.ndarray],
    answers: Mapping[str, np.ndarray],
    labels: np.ndarray,
    margin: float = DECIDED_MARGIN,
) -> dict[str, Any]:
    """Computes the fields of a `GateReport` that follow from the outputs alone.

    Args:
        expected: probabilities by output, `(photos, classes)`.
        answers: the file's outputs of the same names, and maybe more; NaN in these for photos that weren't sent.
        labels: int `(photos,)`.
        margin: how far apart the two most probable classes are where rounding can't exchange them.
    """
    largest = {name: _largest_difference(values, answers[name]) for name, values in expected.items()}
    largest_in = max(largest, key=largest.__getitem__)
    own, other = expected[PROBABILITIES], answers[PROBABILITIES]
    ordered = np.sort(own, axis=1)
    decided = ordered[:, -1] - ordered[:, -2] > margin
    same = are_in_top(own.argmax(axis=1), other, 1)
    return {
        "agreement": float(same.mean()),
        "decided_agreement": float(same[decided].mean()) if decided.any() else 1.0,
        "keras_accuracy": float(are_in_top(labels, own, 1).mean()),
        "accuracy": float(are_in_top(labels, other, 1).mean()),
        "largest_difference": largest[largest_in],
        "largest_in": largest_in,
        "mean_difference": float(np.abs(own - other).mean()),
    }


def _largest_difference(expected: np.ndarray, answers: np.ndarray) -> float:
    asked = ~np.isnan(answers).any(axis=1)
    return float(np.abs(expected[asked] - answers[asked]).max(initial=0.0))


def failed_limits(figures: Mapping[str, Any], limits: Limits) -> list[str]:
    """Returns a sentence for each limit that the results of `compare` don't meet."""
    failures = []
    if limits.difference is not None:
        if not figures["largest_difference"] <= limits.difference:  # also for NaN
            found = figures["largest_difference"]
            failures.append(
                f"a probability in {figures['largest_in']!r} differs by {found:.2g}; at most {limits.difference:g} is "
                "allowed"
            )
        if figures["decided_agreement"] < 1:
            failures.append(
                f"the most probable class is the same for {100 * figures['decided_agreement']:.2f} % of the photos "
                "that rounding can't change; it must be the same for all"
            )
    drop = 100 * (figures["keras_accuracy"] - figures["accuracy"])
    # Accuracies are fractions, which float64 rounds.
    if limits.drop is not None and drop > limits.drop + 1e-9:
        failures.append(f"the accuracy drops by {drop:.2f} points; at most {limits.drop:g} are allowed (--max-drop)")
    agreement = 100 * figures["agreement"]
    if limits.agreement is not None and agreement < limits.agreement - 1e-9:
        failures.append(
            f"the most probable class is the same for {agreement:.2f} % of the photos; it must be for "
            f"{limits.agreement:g} % (--min-agreement)"
        )
    return failures
