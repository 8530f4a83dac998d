"""Photos are read while the model is busy, no more of them than fit, and answers keep their photos' order."""

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clan_tf.errors import CheckFailed
from clan_tf.in_parallel import in_parallel
from clan_tf.inference import Predictor, predict
from clan_tf.inference.locate import LocatedModel

SECONDS = 20
"""Given up after this time, so that a mistake doesn't hang the tests."""


class FakePredictor(Predictor):
    """Answers with the grey level of each photo, once so many photos were read as it is told to wait for."""

    path, class_names, rejection = Path("fake"), [str(level) for level in range(64)], None

    def __init__(self, batch_size: int = 4, wait_for: Sequence[int] = (), fails: bool = False) -> None:
        self.batch_size, self.wait_for, self.fails = batch_size, list(wait_for), fails
        self.viewed, self.most_ahead, self.answered = 0, 0, 0
        self.changed = threading.Condition()

    def view(self, photo: np.ndarray) -> np.ndarray:
        with self.changed:
            self.viewed += 1
            self.most_ahead = max(self.most_ahead, self.viewed - self.answered)
            self.changed.notify_all()
        return photo

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        if self.fails:
            raise CheckFailed("it overflows")
        with self.changed:
            if self.wait_for:
                expected = self.wait_for.pop(0)
                assert self.changed.wait_for(lambda: self.viewed >= expected, SECONDS), "nothing is read meanwhile"
            self.answered += len(views)
        return np.eye(64)[[int(view[0, 0, 0]) for view in views]]

    def answers(self, checked: object, progress: object) -> dict[str, np.ndarray]:
        raise NotImplementedError


def predicted(predictor: FakePredictor, monkeypatch: pytest.MonkeyPatch, photos: Sequence[object]) -> list[dict]:
    module = sys.modules["clan_tf.inference.predict"]  # the package exports its function by the same name
    monkeypatch.setattr(module, "locate", lambda path: LocatedModel(Path("model.tflite"), Path("model.tflite")))
    monkeypatch.setattr(module, "open_predictor", lambda model, batch_size: predictor)
    return predict("fake", photos, top=1)


@pytest.mark.parametrize(
    ("batch_size", "wait_for"), [(4, [8, 12, 16, 18, 18]), (1, [min(n + 2, 18) for n in range(18)])]
)
def test_the_next_batch_is_read_while_the_model_is_busy(
    batch_size: int, wait_for: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is done with a batch only when the next one was read."""
    photos = [np.full((2, 2, 3), level, "uint8") for level in range(18)]
    predictor = FakePredictor(batch_size, wait_for)
    results = predicted(predictor, monkeypatch, photos)
    assert [result["predictions"][0]["label"] for result in results] == [str(level) for level in range(18)]
    assert predictor.viewed == 18 and predictor.most_ahead <= 2 * batch_size


def test_errors_keep_their_places_and_a_failing_model_ends_the_reading(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photos: list[object] = [np.full((2, 2, 3), level, "uint8") for level in range(40)]
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    Image.new("RGB", (2, 2), (9, 9, 9)).save(tmp_path / "good.png")
    photos[1:3] = [tmp_path / "bad.jpg", tmp_path / "good.png"]
    results = predicted(FakePredictor(), monkeypatch, photos)
    assert "error" in results[1] and results[2]["predictions"][0]["label"] == "9"
    assert sum("predictions" in result for result in results) == 39
    failing, threads = FakePredictor(fails=True), threading.active_count()
    with pytest.raises(CheckFailed, match="overflows"):
        predicted(failing, monkeypatch, photos)
    assert failing.viewed < 12 and threading.active_count() == threads


@pytest.mark.parametrize("ahead", [None, 1, 3])
def test_results_are_in_order_and_what_is_raised_is_raised_in_its_place(ahead: int | None) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        if number == 5:
            raise ValueError("five")
        return number

    futures = in_parallel(slow_first, range(9), ahead)
    assert [next(futures).result() for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(futures).result()
    assert [future.result() for future in futures] == [6, 7, 8]
    for few in ([], [7]):
        assert [future.result() for future in in_parallel(slow_first, few, ahead)] == few
