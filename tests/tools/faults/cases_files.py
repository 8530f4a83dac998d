"""The cases `attack-*` of `faults` about shared caches and damaged files."""

import shutil
import signal
import struct
import threading
import time
import zipfile
from pathlib import Path

from bench import HERE, PYTHON, Bench, Ended, Verdict, judge

NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
"""Processes in two of these have equal numbers, and don't see each other's."""


class Caching:
    """Processes that fill one disk cache at a time, each in a namespace of its own.

    Args:
        bench: where they run.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._threads: list[threading.Thread] = []
        self.ended: dict[str, Ended] = {}
        self.folder = bench.folder / "cache"
        self.folder.mkdir()

    def start(self, name: str, delay: float, wait: float, before: str = "", env: dict[str, str] | None = None) -> None:
        """Starts a process `name` that takes `delay` seconds a photo, `wait` seconds after `go`."""
        photos = self._bench.shared / "photos"
        words = (PYTHON, HERE / "cache.py", name, delay, wait, self._bench.tiny, photos, self._bench.folder)
        line = f"{before} {' '.join(map(str, words))} & wait $!"
        command = [*NAMESPACE, "bash", "-c", line]
        variables = {"CLAN_TF_CACHE": str(self.folder), **(env or {})}

        def run() -> None:
            self.ended[name] = self._bench.execute(command, env=variables)

        thread = threading.Thread(target=run)
        thread.start()
        self._threads.append(thread)

    def finish(self, *names: str) -> None:
        """Lets those begin that are ready, and waits for all."""
        ready = [self._bench.folder / f"{name}.ready" for name in names]
        while not all(path.exists() for path in ready) and any(thread.is_alive() for thread in self._threads):
            time.sleep(0.1)
        (self._bench.folder / "go").touch()
        for thread in self._threads:
            thread.join()

    def told(self) -> str:
        """What each of them said."""
        return "; ".join(f"{name} exit {run.code}: {run.out.strip()}" for name, run in sorted(self.ended.items()))

    def left(self) -> list[str]:
        """What the cache folder holds at the end but the pixels."""
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".")]


def attack_02(bench: Bench) -> Verdict:
    """Two containers with equal process numbers share a cache, one is killed: nobody ever reads wrong pixels."""
    caching = Caching(bench)
    kill = {"INJ": "write:8:pixels:kill", "LD_PRELOAD": str(bench.injector)}
    caching.start("A", 0.15, 0)
    caching.start("B", 0.3, 3, env=kill)
    caching.finish("A", "B")
    caching.start("C", 0, 0)
    caching.finish("C")
    codes = {name: run.code for name, run in caching.ended.items()}
    return judge(
        f"{caching.told()}; left {caching.left()}",
        b_was_killed=codes["B"] == 128 + signal.SIGKILL,
        a_is_right=caching.ended["A"].says("0 wrong at once, 0 later") and codes["A"] == 0,
        c_is_right=caching.ended["C"].says("0 wrong at once, 0 later") and codes["C"] == 0,
        nothing_is_left=not caching.left(),
    )


def attack_03(bench: Bench) -> Verdict:
    """Two containers, with equal or unseen process numbers, fill one cache: neither deletes the other's file."""
    found, holds = [], {}
    for kind, before in (("same", ""), ("different", "for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done;")):
        inner = Bench(bench.faults, bench.shared, bench.folder / kind, bench.ended)
        inner.folder.mkdir()
        caching = Caching(inner)
        caching.start("A", 0.1, 0)
        caching.start("B", 0.1, 2, before)
        caching.finish("A", "B")
        found.append(f"{kind}: {caching.told()}")
        both = [caching.ended[name] for name in ("A", "B")]
        holds[f"{kind}_right"] = all(run.code == 0 and run.says("0 wrong at once, 0 later") for run in both)
        holds[f"{kind}_nothing_left"] = not caching.left()
    return judge("; ".join(found), **holds)


def attack_21(bench: Bench) -> Verdict:
    """Messages name the true file and cause: a cut model, a folder as output, a checkpoint with an absurd shape."""
    content = (bench.base / "best.keras").read_bytes()
    (bench.folder / "t.keras").write_bytes(content[: len(content) // 2])
    (bench.folder / "d").mkdir()
    run = bench.folder / "r"
    metrics = run / "metrics.csv"
    stopped = bench.clan_tf(
        *("train", bench.tiny, "--set", f"data.root={bench.shared / 'photos'}", "--set", "training.epochs=4000"),
        *("--run-dir", run),
        until=lambda: metrics.exists() and metrics.stat().st_size > 700,
    )
    checkpoints = sorted((run / "checkpoints").glob("state-*.npz"))
    huge_shape(checkpoints[-1])
    epochs = metrics.read_text(encoding="utf-8").count("\n")
    resumed = bench.clan_tf(
        *("train", "--run-dir", run, "--resume"), until=lambda: metrics.read_text(encoding="utf-8").count("\n") > epochs
    )
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    predicted = bench.clan_tf("predict", bench.folder / "t.keras", bench.photo)
    reported = bench.clan_tf("report", bench.base, "--output", bench.folder / "d")
    return judge(
        f"predict: exit {predicted.code}, {predicted.err.strip()[-110:]}; report: exit {reported.code}, "
        f"{reported.err.strip()[-110:]}; --resume: exit {resumed.code}, {resumed.err.strip()[:150]}",
        was_stopped=stopped.code in (143, -15) and len(checkpoints) == 2,
        cut_model=predicted.code == 2 and predicted.says("t.keras", "damaged or truncated"),
        folder_as_output=reported.code == 2 and reported.says("/d", "folder"),
        falls_back=resumed.code in (143, -15) and resumed.says(checkpoints[-1].name, "damaged"),
    )


def huge_shape(path: Path) -> None:
    """Makes the first array of a checkpoint say that it has 10**15 numbers, with right checksums."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    first = next(name for name in members if name.endswith(".npy"))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }"
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    members[first] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
