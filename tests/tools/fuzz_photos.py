"""Damaged copies of every file of the conformance table: no error but `PhotoError`, no crash, and one answer.

python tests/tools/fuzz_photos.py 20      copies of each file; the suite runs none

Photos that are accepted are decoded by TensorFlow's operators and by the graph of `serve_bytes`, too, where these may.
A process that is ended by a signal names its copy in `fuzz_photos.bin`.
"""

import os
import random
import sys
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1]))

from clan_tf.data.checked_photos import probe
from clan_tf.data.graph_decoding import decode_in_graph
from clan_tf.export.encoded_photos import decode_upright, why_not_served
from clan_tf.export.exif import exif_orientation
from clan_tf.photos import PhotoError, PhotoFacts, decode
from helpers.fuzzing import head_mutations, mutations
from helpers.photo_table import photo_files

LAST = Path("fuzz_photos.bin")
STRING = tf.TensorSpec((), tf.string)


def traced(function: object) -> object:
    """The graph of a function of a scalar string."""
    return tf.function(function, [STRING], autograph=False).get_concrete_function()


IN_GRAPH, SERVE, TURN = traced(decode_in_graph), traced(decode_upright), traced(exif_orientation)


def verdict(content: bytes) -> str:
    """What the readers make of a file; a text that begins with `WRONG` is a fault."""
    try:
        picture, reason = decode(content), None
    except PhotoError as error:
        picture, reason = None, str(error)
    try:
        facts, refusal = probe(content), None
    except PhotoError as error:
        facts, refusal = None, str(error)
    if picture is None:
        return "refused" if refusal == reason and "\n" not in reason else f"WRONG: {reason!r} and {refusal!r}"
    if facts is None:
        return f"WRONG: decoded, and {refusal!r}"
    if facts.same_in_graph and not np.array_equal(IN_GRAPH(tf.constant(content)).numpy(), picture.stored):
        return "WRONG: other pixels in the graph"
    return served_verdict(content, facts, picture.upright)


def served_verdict(content: bytes, facts: PhotoFacts, upright: np.ndarray) -> str:
    """The same of `serve_bytes` for a photo that can be decoded."""
    reason = why_not_served(content, facts)
    try:
        served = SERVE(tf.constant(content)).numpy()
    except tf.errors.OpError as error:
        first = error.message.splitlines()[0][:160]
        return "accepted, not served" if reason else f"WRONG: serve_bytes refuses unforeseen: {first}"
    if reason:
        return f"WRONG: serve_bytes answers in spite of: {reason}"
    if not np.array_equal(served, upright):
        return "WRONG: serve_bytes gives other pixels"
    return "accepted, all alike"


def main() -> None:
    """Prints faults as they are found, and the counts."""
    warnings.simplefilter("error")
    copies, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    rng, counts = random.Random(seed), Counter()
    for row in photo_files():
        if len(row.content) > 100_000:
            continue
        streams = [mutations(row.content, rng), head_mutations(row.content, rng, 200)]
        for number in range(copies):
            content = next(streams[number % 2])
            LAST.write_bytes(content)
            try:
                found = verdict(content)
            except Exception as error:  # noqa: BLE001
                found = f"WRONG: {type(error).__name__}: {error}"
            counts["WRONG" if found.startswith("WRONG") else found] += 1
            if found.startswith("WRONG"):
                kept = Path(f"wrong_{counts['WRONG']}_{row.name}")
                kept.write_bytes(content)
                print(kept, found, flush=True)
    print(dict(counts), flush=True)


if __name__ == "__main__":
    main()
