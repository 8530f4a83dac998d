"""What the cases of `faults` share: a tiny run, its exports, and the command line in a process of its own."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PYTHON = Path(sys.executable)
CLAN_TF = PYTHON.with_name("clan-tf")
UNNAMED = re.compile("Corrupt JPEG data|Premature end of JPEG|DecompressionBomb|libpng (warning|error)")
SECONDS = 300
"""What a command may take on a busy machine; the slowest, an export, takes 20 on two free cores."""


@dataclass(frozen=True)
class Verdict:
    """What a case came to.

    Attributes:
        found: what was seen, in a few words.
        wrong: what isn't as it must be.
    """

    found: str
    wrong: Sequence[str] = ()


def judge(found: str, **holds: object) -> Verdict:
    """A verdict by named conditions, of which those that don't hold are wrong."""
    return Verdict(found, tuple(name.replace("_", " ") for name, holds_true in holds.items() if not holds_true))


@dataclass(frozen=True)
class Ended:
    """A process that ended.

    Attributes:
        command: its words.
        code: its exit code, negative for a signal; `None` if it ran out of time.
        out: its standard output.
        err: its standard error.
    """

    command: Sequence[str]
    code: int | None
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, in one line, as tables and terminals may break lines anywhere."""
        return " ".join(f"{self.err} {self.out}".split())

    @property
    def json(self) -> Any:
        """Standard output as the JSON document that it must be; bare NaN isn't JSON."""
        return json.loads(self.out, parse_constant=_refuse_constant)

    def says(self, *parts: str) -> bool:
        """Whether all parts are in the text, whatever lines and tables made of its spaces."""
        squeezed = _squeezed(self.text)
        return all(_squeezed(part) in squeezed for part in parts)

    def faults(self) -> list[str]:
        """What no command may do, whatever it was asked: run on, show a traceback, send control characters."""
        words = " ".join(str(word).rsplit("/", 1)[-1] for word in self.command[:5])
        found = {
            "ran out of time": self.code is None,
            "crashed": self.code in (-6, -7, -8, -11, 134, 139),
            "traceback": "Traceback (most recent" in self.text,
            "raw control characters": "\x1b" in self.out + self.err,
            "unnamed warning of a decoder": CLAN_TF.name in words and bool(UNNAMED.search(self.text)),
        }
        return [f"{what}: {words}" for what, is_so in found.items() if is_so]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"bare {name} in JSON")


def _squeezed(text: str) -> str:
    return "".join(character for character in text if not character.isspace() and character not in "│┃")


@dataclass
class Bench:
    """Where a case runs.

    Args:
        faults: the folder of reproductions.
        shared: a folder with the run `base`, its exports and `photos`, which every case may read.
        folder: the case's own, empty folder.
    """

    faults: Path
    shared: Path
    folder: Path
    ended: list[Ended] = field(default_factory=list)

    @property
    def base(self) -> Path:
        """A tiny run on the three classes of `photos`."""
        return self.shared / "base"

    @property
    def photo(self) -> Path:
        """A photo that the run was made with."""
        return self.shared / "photos/class_0/00.jpg"

    @property
    def tflite(self) -> Path:
        """The run as a TFLite file."""
        return self.base / "exports/tflite-float32/tiny.tflite"

    @property
    def saved_model(self) -> Path:
        """The run as a SavedModel."""
        return self.base / "exports/saved_model/tiny/1"

    @property
    def tiny(self) -> Path:
        """The config of the run."""
        return self.faults / "tiny.yaml"

    @cached_property
    def injector(self) -> Path:
        """The library that kills a process at a call, compiled."""
        library = self.folder / "inj.so"
        source = self.faults / "attack-02/inj.c"
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", library, source, "-ldl"], check=True)
        return library

    def make(self, case: str, *arguments: object) -> Path:
        """Runs the `make.py` of a case; returns the folder that it made."""
        out = self.folder / "made"
        subprocess.run(
            [PYTHON, self.faults / case / "make.py", *arguments, out], check=True, capture_output=True, timeout=SECONDS
        )
        return out

    def clan_tf(self, *arguments: object, **options: Any) -> Ended:
        """Runs the command line; `options` are those of `execute`."""
        return self.execute([CLAN_TF, *arguments], **options)

    def injected(self, injection: str, *arguments: object, **options: Any) -> Ended:
        """Runs the command line with `CALL:NUMBER:PATH:ACTION` done to it."""
        return self.clan_tf(*arguments, env={"INJ": injection, "LD_PRELOAD": str(self.injector)}, **options)

    def python(self, script: str, *arguments: object, **options: Any) -> Ended:
        """Runs a script beside this file."""
        return self.execute([PYTHON, HERE / script, *arguments], **options)

    def execute(
        self,
        command: Sequence[object],
        cwd: Path | None = None,
        env: Mapping[str, str | None] = {},
        seconds: float = SECONDS,
        until: Callable[[], bool] | None = None,
    ) -> Ended:
        """Runs a command to its end.

        Args:
            command: its words.
            cwd: where; the case's folder if left out.
            env: variables to set, or with `None` to remove.
            seconds: after which it is killed.
            until: where given, SIGTERM is sent once it is true.
        """
        words = [os.fspath(word) if isinstance(word, Path | str | bytes) else str(word) for word in command]
        process = subprocess.Popen(
            words,
            cwd=cwd or self.folder,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if until:
            threading.Thread(target=_terminate_when, args=(process, until), daemon=True).start()
        try:
            out, err = process.communicate(timeout=seconds)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            code = None
        texts = [stream.decode("utf-8", "surrogateescape") for stream in (out, err)]
        ended = Ended([os.fsdecode(word) for word in words], code, *texts)
        self.ended.append(ended)
        return ended

    def readers(self, *photos: Path) -> dict[str, dict[str, Any]]:
        """What every reader makes of photos, by file name; see `readers.py`."""
        ended = self.python("readers.py", self.base, self.tflite, self.saved_model, *photos)
        if ended.code:
            raise RuntimeError(f"readers.py: {ended.err[-500:]}")
        return json.loads(ended.out)


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **changes}
    return {name: value for name, value in environment.items() if value is not None}


def _terminate_when(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    while process.poll() is None:
        if condition():
            process.terminate()
            return
        threading.Event().wait(0.2)


def prepare(faults: Path, shared: Path) -> None:
    """Makes what is shared, unless it is there: photos, the run `base`, a TFLite file and a SavedModel of it."""
    bench = Bench(faults, shared, shared)
    shared.mkdir(parents=True, exist_ok=True)
    if not bench.base.exists():
        bench.execute([PYTHON, faults / "prepare.py"])
        _require(bench.clan_tf("train", bench.tiny, "--run-dir", bench.base))
    if not bench.tflite.exists():
        _require(bench.clan_tf("export", bench.base, "--format", "tflite"))
    if not bench.saved_model.exists():
        _require(bench.clan_tf("export", bench.base, "--format", "saved_model", "--samples", 12))


def _require(ended: Ended) -> None:
    if ended.code:
        raise RuntimeError(f"{' '.join(ended.command)}: {ended.err[-1000:]}")


def class_counts(report: Mapping[str, Any]) -> dict[str, int]:
    """Photos of each class over all splits, from `data check --json`."""
    counts: dict[str, int] = {}
    for split in report["splits"].values():
        for name, count in split["classes"].items():
            counts[name] = counts.get(name, 0) + count
    return counts
