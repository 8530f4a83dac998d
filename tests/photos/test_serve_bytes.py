"""`serve_bytes` over the table of photo files: the same upright pixels, or a refusal."""

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.data.checked_photos import CheckedPhotos, probe
from clan_tf.export.encoded_photos import decode_upright, why_not_served
from clan_tf.export.exif import exif_orientation
from clan_tf.photos import PhotoError, decode
from clan_tf.photos.orientation import orientation_of
from helpers.fuzzing import mutations
from helpers.photo_table.parts import PhotoFile
from helpers.reading import Table, distance


@pytest.fixture(scope="module")
def serve() -> Callable[[bytes], np.ndarray | None]:
    """The upright pixels that the graph behind `serve_bytes` makes; `None` where it refuses."""
    string = tf.TensorSpec((), tf.string)
    graph = tf.function(decode_upright, [string], autograph=False).get_concrete_function()

    def run(content: bytes) -> np.ndarray | None:
        try:
            return graph(tf.constant(content)).numpy()
        except tf.errors.OpError:
            return None

    return run


def test_serve_bytes_gives_the_same_pixels_or_refuses(
    table: Table, serve: Callable[[bytes], np.ndarray | None]
) -> None:
    wrong = {}
    for row in table.rows:
        served = serve(row.content)
        if (served is None) != (row.served == "refused"):
            wrong[row.name] = "refused" if served is None else "answered"
        elif served is not None and row.served == "answered":
            if far := distance(served, table.pixels[row.name]):
                wrong[row.name] = f"{far} levels"
    assert wrong == {}


def test_what_serve_bytes_refuses_is_known_beforehand(table: Table, checked: CheckedPhotos) -> None:
    for row, facts in zip(table.good, checked.facts, strict=True):
        reason = why_not_served(row.content, facts)
        assert (reason is not None) == (row.served == "refused"), f"{row.name}: {reason}"
        assert reason is None or "serve_bytes" in reason or "TensorFlow" in reason


def damaged(rows: Sequence[PhotoFile], count: int, head: int) -> Iterator[tuple[str, bytes]]:
    """Copies of the rows in turn, damaged within their first bytes, with their names and numbers."""
    rng = random.Random(1)
    for number in range(count):
        row = rows[number * 7 % len(rows)]
        yield f"{row.name} ({number})", next(mutations(row.content[:head], rng)) + row.content[head:]


def _can_be_decoded(content: bytes) -> bool:
    try:
        return bool(probe(content))
    except PhotoError:
        return False


def test_the_orientation_is_the_same_in_the_graph_whatever_the_data_say(table: Table) -> None:
    string = tf.TensorSpec((), tf.string)
    graph = tf.function(exif_orientation, [string], autograph=False).get_concrete_function()
    turned = [row for row in table.rows if "exif" in row.name and len(row.content) < 100_000]
    copies = [(row.name, row.content) for row in turned] + list(damaged(turned, 600, 120))
    # Of a PNG whose checksums are wrong Python doesn't look for it; such a photo is refused.
    compared = [(name, content) for name, content in copies if ".png" not in name or _can_be_decoded(content)]
    found = {name: (orientation_of(content), int(graph(tf.constant(content)))) for name, content in compared}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}
    assert len(found) > 300 and {pair[0] for pair in found.values()} == {*range(1, 9)}


def test_serve_bytes_answers_of_damaged_photos_what_others_see_or_refuses(
    table: Table, serve: Callable[[bytes], np.ndarray | None]
) -> None:
    rows = [row for row in table.good if len(row.content) < 20_000]
    wrong, answered, refused = {}, 0, 0
    for name, content in damaged(rows, 500, 200):
        if not _can_be_decoded(content):
            continue
        facts = probe(content)
        served, reason = serve(content), why_not_served(content, facts)
        answered, refused = answered + (served is not None), refused + (served is None)
        if (served is None) != (reason is not None):
            wrong[name] = f"{reason}, and it {'refuses' if served is None else 'answers'}"
        elif served is not None and distance(served, decode(content).upright):
            wrong[name] = "other pixels"
    assert wrong == {}
    assert answered > 50 and refused > 5
