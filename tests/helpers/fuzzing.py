"""Damaged models and photos through `predict`: each must get a message, never a traceback, a hang or a silent crash."""

import json
import random
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

HANG_SECONDS = 300
KINDS = (".tflite", ".tflite", ".onnx", ".jpg", ".png", ".keras")


def mutations(content: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless damaged copies: bytes changed, runs of them zeroed, removed, doubled, or the end cut off."""
    while True:
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 2, 8, 64))):
            if not damaged:
                break
            place, length = rng.randrange(len(damaged)), rng.randrange(1, 65)
            kind = rng.randrange(6)
            if kind <= 2:
                damaged[place] = rng.randrange(256)
            elif kind == 3:
                damaged[place : place + length] = bytes(length)
            elif kind == 4:
                del damaged[place : place + length]
            else:
                damaged[place:place] = damaged[place : place + length]
        yield bytes(damaged[: rng.randrange(len(damaged) + 1)] if rng.random() < 0.1 else damaged)


def head_mutations(content: bytes, rng: random.Random, head: int = 4096) -> Iterator[bytes]:
    """The same where a file says how it is built, not in its many numbers."""
    for damaged in mutations(content[:head], rng):
        yield damaged + content[head:]


def keras_mutations(content: bytes, rng: random.Random) -> Iterator[bytes]:
    """Damaged members in a sound archive, whose checksums would catch all other damage."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    streams = {name: mutations(member, rng) for name, member in members.items()}
    whole = mutations(content, rng)
    while True:
        if rng.random() < 0.2:
            yield next(whole)
            continue
        chosen, changed = rng.choice(list(members)), BytesIO()
        with zipfile.ZipFile(changed, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, next(streams[name]) if name == chosen else member)
        yield changed.getvalue()


class Predictor:
    """A process that predicts one pair of model and photo after the other, and is started anew where one ends it."""

    CODE = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from clan_tf.errors import CheckFailed, UserError
from clan_tf.inference.predict import predict
for line in sys.stdin:
    model, photo = json.loads(line)
    try:
        (result,) = predict(model, [photo])
        outcome = "refused" if "error" in result else "answered"
    except (CheckFailed, UserError) as error:
        outcome = "refused" if str(error).strip() else "SILENT failure"
    except BaseException as error:
        outcome = f"TRACEBACK: {type(error).__name__}: {error}".replace(chr(10), " ")
    print(outcome, file=answers, flush=True)
"""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, model: Path, photo: Path) -> str:
        """`answered`, `refused`, or what is wrong with the way it ended."""
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-c", self.CODE]
            pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True)
        watch = threading.Timer(HANG_SECONDS, self._process.kill)
        watch.start()
        print(json.dumps([str(model), str(photo)]), file=self._process.stdin, flush=True)
        outcome = self._process.stdout.readline().strip()
        hung = not watch.is_alive()
        watch.cancel()
        return outcome or (f"HANGS for {HANG_SECONDS} s" if hung else f"CRASH with {self._process.wait()}")

    def close(self) -> None:
        """Ends the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()


def fuzz(folder: Path, models: dict[str, Path], count: int, workers: int = 2, seed: int = 0) -> Counter[str]:
    """Predicts `count` mutations, a share of each kind, and counts how they ended.

    Args:
        folder: where damaged files are written; those of findings stay.
        models: a good `tflite`, `onnx` and `keras` file.
        count: how many mutations.
        workers: how many run at a time.
        seed: of the mutations.
    """
    rng = random.Random(seed)
    photo = folder / "photo.jpg"
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype="uint8")).save(photo)
    png = BytesIO()
    Image.open(photo).save(png, "PNG")
    tflite, onnx, saved = (models[kind].read_bytes() for kind in ("tflite", "onnx", "keras"))
    streams = {
        ".tflite": (mutations(tflite, rng), head_mutations(tflite, rng)),
        ".onnx": (mutations(onnx, rng), head_mutations(onnx, rng)),
        ".keras": (keras_mutations(saved, rng),),
        ".jpg": (mutations(photo.read_bytes(), rng),),
        ".png": (mutations(png.getvalue(), rng),),
    }
    found: Counter[str] = Counter()
    numbers, lock = iter(range(count)), threading.Lock()

    def work() -> None:
        predictor = Predictor()
        while True:
            with lock:
                number = next(numbers, None)
                if number is None:
                    break
                suffix = KINDS[number % len(KINDS)]
                content = next(rng.choice(streams[suffix]))
            path = folder / f"mutation-{seed}-{number}{suffix}"
            path.write_bytes(content)
            is_model = suffix in (".tflite", ".onnx", ".keras")
            outcome = predictor(path if is_model else models["tflite"], photo if is_model else path)
            found[f"{suffix} {outcome}"] += 1
            if outcome in ("answered", "refused"):
                path.unlink()
            else:
                print(f"{path}: {outcome}", flush=True)
        predictor.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
