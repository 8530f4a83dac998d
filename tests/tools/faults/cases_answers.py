"""The cases of `faults` about splits, resumes and figures."""

import csv
import io
import json
import shutil
import signal
from pathlib import Path

from bench import CLAN_TF, Bench, Ended, Verdict, judge
from cases_data import train
from models import with_weights


def tested(folder: Path) -> set[str]:
    """The photos of an evaluation's `predictions.csv`."""
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return {row[0] for row in csv.reader(file)} - {"photo", "path"}


def top1(ended: Ended) -> tuple[float, float]:
    """The accuracy of an evaluation, and the same from its own table of classes."""
    report = ended.json
    by_class = sum(row["photos"] * row["accuracy"] for row in report["per_class"] if row["photos"])
    return report["branches"]["combined"]["top1"], by_class / report["photos"]


def data_07(bench: Bench) -> Verdict:
    """`evaluate RUN` uses the run's own split after photos were added, and notes the new ones."""
    made = bench.make("data-07")
    train(bench, made, "d")
    run = made / "run"
    bench.clan_tf("evaluate", run, "--output", made / "before")
    bench.clan_tf("evaluate", run, "--split", "train", "--output", made / "train")
    for name in ("red", "green", "blue"):
        (made / "d" / name / "zz_new.jpg").write_bytes((made / "d" / name / "p00.jpg").read_bytes() + b"x")
    ended = bench.clan_tf("evaluate", run, "--output", made / "after")
    before, trained, after = (tested(made / name) for name in ("before", "train", "after"))
    return judge(
        f"{len(after)} test photos, {len(after & trained)} of them trained on; {ended.err.strip()[:110]}",
        same_photos=before == after and len(after) > 0,
        none_trained_on=not after & trained,
        new_ones_noted=ended.says("3 photos came after the run began"),
    )


def data_08(bench: Bench) -> Verdict:
    """`--resume` is refused when the pictures were exchanged under the same names."""
    made = bench.make("data-08")
    metrics = made / "run/metrics.csv"
    began = train(
        bench,
        made,
        "d",
        *("--set", "training.epochs=4000", "--set", "training.learning_rate=0.001"),
        until=lambda: metrics.exists() and metrics.stat().st_size > 200,
    )
    for old, new in (("red", "x"), ("green", "red"), ("x", "green")):
        (made / "d" / old).rename(made / "d" / new)
    resumed = bench.clan_tf("train", "--run-dir", made / "run", "--resume")
    return judge(
        f"stopped: exit {began.code}; --resume: exit {resumed.code}, {resumed.err.strip()[-160:]}",
        was_stopped=began.code == 128 + signal.SIGTERM or began.code == -signal.SIGTERM,
        refused=resumed.code == 2 and resumed.says("changed since it began"),
        a_photo_is_named=resumed.says("red/p00.jpg"),
    )


def data_18(bench: Bench) -> Verdict:
    """Equal probabilities follow one rule in training, `evaluate`, per class, `predict` and exports."""
    made = bench.make("data-18")
    train(bench, made, "d", "--set", "training.learning_rate=1e-12")
    run = made / "run"
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        validated = float(next(csv.DictReader(file))["val_combined_accuracy"])
    evaluated, by_class = top1(bench.clan_tf("evaluate", run, "--split", "val", "--json"))
    exported = bench.clan_tf("export", run, "--format", "tflite")
    tflite = run / "exports/tflite-float32/t.tflite"
    by_file = top1(bench.clan_tf("evaluate", tflite, "--split", "val", "--json"))
    photo = made / "d/red/p00.jpg"
    labels = [
        bench.clan_tf("predict", model, photo, "--json").json[0]["predictions"][0]["label"] for model in (run, tflite)
    ]
    return judge(
        f"val: training {validated:.4f}, evaluate {evaluated:.4f}, per class {by_class:.4f}, file {by_file}, {labels}",
        one_accuracy=max(abs(value - evaluated) for value in (validated, by_class, *by_file)) < 1e-6,
        gate_passes=exported.code == 0,
        first_class=labels == ["blue", "blue"],
    )


def attack_01(bench: Bench) -> Verdict:
    """A failed start with `--resume` deletes nothing that was there before: dot files, the user's own config.yaml."""
    fail = ("--resume", "--set", "training.learning_rate=1e30", "--set", "training.checkpoint_minutes=10")
    root = ("--set", f"data.root={bench.shared / 'photos'}")
    work, own = bench.folder / "work", bench.folder / "own"
    (work / ".git").mkdir(parents=True)
    (work / ".git/objects").write_text("precious", encoding="utf-8")
    (work / ".env").write_text("secret", encoding="utf-8")
    own.mkdir()
    recipe = "# my recipe\n" + bench.tiny.read_text(encoding="utf-8")
    (own / "config.yaml").write_text(recipe, encoding="utf-8")
    first = bench.clan_tf("train", bench.tiny, "--run-dir", work, *fail, *root)
    second = bench.clan_tf("train", own / "config.yaml", "--run-dir", own, *fail, *root)
    (bench.folder / "empty").mkdir()
    third = bench.clan_tf("train", bench.tiny, "--run-dir", bench.folder / "empty", *fail, *root)
    kept = sorted(path.relative_to(bench.folder).as_posix() for path in (*work.rglob("*"), *own.rglob("*")))
    return judge(
        f"exits {first.code}, {second.code} and, in an empty folder, {third.code}; there: {' '.join(kept)}",
        dot_files_are_there=(work / ".git/objects").exists() and (work / ".env").exists(),
        config_is_there=(own / "config.yaml").exists() and (own / "config.yaml").read_text("utf-8") == recipe,
        empty_folder_is_there=list((bench.folder / "empty").iterdir()) == [],
        nothing_else=set(kept) == {"work/.env", "work/.git", "work/.git/objects", "own/config.yaml"},
        dot_files_refuse_the_start=first.code == 2 and first.says("isn't a run directory"),
        own_config_refuses_the_start=second.code == 2 and second.says("isn't a run directory"),
        a_started_run_fails=third.code == 1 and "nan" in third.text.lower(),
    )


def attack_12(bench: Bench) -> Verdict:
    """NaN weights are refused by every verb, and JSON never holds NaN."""
    model, run = bench.folder / "nan.keras", bench.folder / "run"
    with_weights(bench.base / "best.keras", model, float("nan"))
    shutil.copytree(bench.base, run, ignore=shutil.ignore_patterns("exports"))
    shutil.copy(model, run / "best.keras")
    config = ("--config", bench.tiny, "--set", f"data.root={bench.shared / 'photos'}")
    ended = {
        "predict": bench.clan_tf("predict", model, bench.photo),
        "predict --json": bench.clan_tf("predict", model, bench.photo, "--json"),
        "predict RUN": bench.clan_tf("predict", run, bench.photo, "--json"),
        "evaluate": bench.clan_tf("evaluate", run, "--json"),
        "explain": bench.clan_tf("explain", run, bench.photo, "--output", "ex"),
        "export": bench.clan_tf("export", run, "--format", "keras"),
        "evaluate FILE": bench.clan_tf("evaluate", model, *config, "--json"),
    }
    return judge(
        ", ".join(f"{verb} exit {run.code}" for verb, run in ended.items()),
        all_refuse=all(run.code in (1, 2) for run in ended.values()),
        no_json=all(not run.out.strip() for run in ended.values()),
        says_why=all(run.says("NaN") for run in ended.values()),
    )


def attack_13(bench: Bench) -> Verdict:
    """A run that was killed between "finished" and the removal of its checkpoints is cleaned by `--resume`."""
    run = bench.folder / "r"
    short = ("--set", "training.epochs=1", "--set", "training.checkpoint_minutes=10")
    data = ("--set", f"data.root={bench.shared / 'photos'}")
    killed = bench.injected("unlink:1:checkpoints/state-:kill", "train", bench.tiny, *data, *short, "--run-dir", run)
    status = json.loads((run / "status.json").read_text(encoding="utf-8"))["status"]
    left = [path.name for path in (run / "checkpoints").glob("*")]
    resumed = bench.clan_tf("train", bench.tiny, *data, *short, "--run-dir", run, "--resume")
    return judge(
        f"killed: exit {killed.code}, {status}, left {left}; --resume: exit {resumed.code}",
        was_killed_there=killed.code == -signal.SIGKILL and status == "finished" and bool(left),
        resumes=resumed.code == 0,
        cleaned=not (run / "checkpoints").exists(),
    )


def attack_14(bench: Bench) -> Verdict:
    """A run resumed with another number of threads says that it goes on, but not bit for bit."""
    run = bench.folder / "r"
    data = ("--set", f"data.root={bench.shared / 'photos'}")
    killed = bench.injected("rename:1:/best.keras:kill", "train", bench.tiny, *data, "--run-dir", run)
    command = ["taskset", "-c", "0", CLAN_TF, "train", bench.tiny, *data, "--run-dir", run, "--resume"]
    resumed = bench.execute(command)
    rows = list(csv.reader(io.StringIO((run / "metrics.csv").read_text(encoding="utf-8"))))
    return judge(
        f"killed: exit {killed.code}; --resume on one core: exit {resumed.code}, {resumed.err.strip()[:130]}",
        was_killed=killed.code == -signal.SIGKILL,
        resumed=resumed.code == 0 and len(rows) == 4,
        noted=resumed.says("threads: 1 now", "not bit for bit"),
    )
