"""The cases `attack-*` of `faults` about models, limits, terminals and environments."""

import os
import shutil

from bench import CLAN_TF, HERE, Bench, Verdict, judge
from models import with_settings

NOBODY = 54321
"""A user without an entry in the list of users."""


def attack_04(bench: Bench) -> Verdict:
    """A `.keras` file whose config says "weights": "imagenet" is read, or refused, without the network."""
    tiny, resnet = bench.folder / "tiny.keras", bench.folder / "resnet.keras"
    with_settings(bench.base / "best.keras", tiny, {"weights": "imagenet"})
    with_settings(
        bench.base / "best.keras",
        resnet,
        {"weights": "imagenet", "backbone": "resnet50", "mid": ["conv4_block6_out"]},
    )
    ended = {
        f"{verb} {model.name}": bench.python("network.py", verb, model, bench.photo, *more)
        for model in (tiny, resnet)
        for verb, more in (("predict", ()), ("explain", ("--output", bench.folder / "ex")))
    }
    return judge(
        ", ".join(f"{name}: exit {run.code}" for name, run in ended.items()),
        no_network=not any(run.says("NETWORK") for run in ended.values()),
        own_backbone_answers=ended["predict tiny.keras"].code == 0,
        other_backbone_refused=ended["predict resnet.keras"].code == 2,
    )


def attack_05(bench: Bench) -> Verdict:
    """FIFOs and devices as photos or models are refused at once: only regular files are opened."""
    for name in ("x.jpg", "x.tflite", "x.onnx", "x.keras"):
        os.mkfifo(bench.folder / name)
    for name in ("z.jpg", "z.onnx", "z.tflite", "z.keras"):
        (bench.folder / name).symlink_to("/dev/zero")
    run = bench.base
    commands = [("predict", run, "x.jpg"), ("explain", run, "x.jpg", "--output", "ex"), ("predict", run, "z.jpg")]
    commands += [("explain", run, "z.jpg", "--output", "ex"), ("predict", bench.tflite, "x.jpg", "z.jpg")]
    commands += [("predict", f"{kind}.{suffix}", bench.photo) for kind in "xz" for suffix in ("tflite", "onnx")]
    commands += [
        ("evaluate", "x.keras"),
        ("predict", "z.keras", bench.photo),
        ("export", "x.keras", "--format", "keras"),
    ]
    found = [bench.execute(["prlimit", "--as=24000000000", CLAN_TF, *command], seconds=120) for command in commands]
    refusals = [ended.code in (1, 2) and ended.says("regular file") for ended in found]
    return judge(
        f"{sum(refusals)} of {len(commands)} refused as no regular file; exits {[ended.code for ended in found]}",
        all_refused=all(refusals),
    )


def attack_06(bench: Bench) -> Verdict:
    """Numbers with digits too many are refused at once, also with --dry-run."""
    values = [
        *("training.epochs=999999999999999999999999", "training.epochs=10000000"),
        *("data.generated_photos={train: 10000000000, val: 10, test: 10}", "training.batch_size=99999999999"),
    ]
    found = [bench.clan_tf("train", "--dry-run", "--set", value, seconds=60) for value in values]
    return judge(
        f"exits {[ended.code for ended in found]}; {found[0].err.strip()[:140]}",
        all_refused=all(ended.code == 2 for ended in found),
        key_is_named=all(ended.says(value.partition("=")[0]) for ended, value in zip(found, values, strict=True)),
    )


def attack_11(bench: Bench) -> Verdict:
    """Escape sequences in photo names, class names and YAML keys are shown escaped."""
    folder, model = bench.folder / "p", bench.folder / "names_evil.keras"
    folder.mkdir()
    shutil.copy(bench.photo, folder / "\x1b[31mred\x1b]0;title\x07a.jpg")
    names = ["\x1b[31mred", "\x1b]0;title\x07", "c\u202ed\u009b31m"]
    with_settings(bench.base / "best.keras", model, {"class_names": names})
    (bench.folder / "e.yaml").write_text('"\\x1b[2Jkey": 1\n', encoding="utf-8")
    ended = [
        bench.clan_tf("predict", bench.base, folder),
        bench.clan_tf("predict", model, bench.photo),
        bench.clan_tf("predict", model, bench.photo, "--json"),
        bench.clan_tf("train", "e.yaml"),
        bench.clan_tf("data", "check", "e.yaml"),
        bench.clan_tf("predict", bench.folder / "\x1b[31mno.keras", bench.photo),
        bench.clan_tf("train", bench.folder / "\x1b[31mno.yaml"),
    ]
    raw = [character for run in ended for character in run.out + run.err if character in "\x1b\x07\u202e\u009b"]
    return judge(
        f"exits {[run.code for run in ended]}; {len(raw)} raw control characters",
        none_is_raw=not raw,
        shown_escaped=ended[0].says("\\x1b[31mred") and ended[3].says("\\x1b[2Jkey"),
        exits=[run.code for run in ended[3:]] == [2, 2, 2, 2] and ended[0].code == 0,
    )


def attack_15(bench: Bench) -> Verdict:
    """An MPLBACKEND that matplotlib doesn't know doesn't matter."""
    report = ("report", bench.base, "--output")
    found = [
        bench.clan_tf(*report, bench.folder / f"{backend}.html", env={"MPLBACKEND": backend})
        for backend in ("nonsense", "TkAgg")
    ]
    return judge(f"exits {[ended.code for ended in found]}", reports=all(ended.code == 0 for ended in found))


def attack_17(bench: Bench) -> Verdict:
    """The documentation says that models are programs, and that a SavedModel may read and write files."""
    documents = [HERE.parents[2] / "README.md", *(HERE.parents[2] / "docs").glob("*.md")]
    text = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in documents)
    said = "A model is a program" in text and "SavedModel is a TensorFlow program that may read, write" in text
    linked = "docs/security.md" in documents[0].read_text(encoding="utf-8")
    return judge(f"said: {said}; README leads there: {linked}", said=said, readme_leads_there=linked)


def attack_20(bench: Bench) -> Verdict:
    """Without HOME, or as a user whom the system doesn't know, commands work or end with one sentence."""
    photos = f"data.root={bench.shared / 'photos'}"
    run = ("train", bench.tiny, "--set", photos, "--set", "training.epochs=1", "--set", "data.cache=disk", "--run-dir")
    bare = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "CLAN_TF_CACHE", "USER", "LOGNAME"))
    ended = [
        bench.clan_tf("predict", bench.tflite, bench.photo, env=bare),
        bench.clan_tf(*run, "a", env=bare),
        bench.clan_tf(*run, "b", env={**bare, "HOME": "/proc/1/nowhere"}),
    ]
    unknown = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", CLAN_TF)
    ended += [
        bench.execute([*unknown, "predict", bench.tflite, bench.photo], env=bare),
        bench.execute([*unknown, *run, "c"], env=bare),
    ]
    return judge(
        f"exits {[run.code for run in ended]}; {ended[-1].err.strip()[-160:]}",
        predicts=ended[0].code == ended[3].code == 0,
        trains_or_one_sentence=all(
            run.code == 0 or (run.code == 2 and run.says("CLAN_TF_CACHE")) for run in ended if "train" in run.command
        ),
    )


def attack_22(bench: Bench) -> Verdict:
    """A name of 300 bytes is refused by itself, and the others go on."""
    name = "a" * 300
    predicted = bench.clan_tf("predict", bench.base, bench.photo, f"{name}.jpg", "--json")
    exported = bench.clan_tf("predict", bench.tflite, bench.photo, f"{name}.jpg", "--json")
    trained = bench.clan_tf("train", f"{name}.yaml")
    kinds = [["predictions" in row for row in ended.json] for ended in (predicted, exported)]
    return judge(
        f"predict: exits {predicted.code} and {exported.code}, answered {kinds}; train: exit {trained.code}",
        others_go_on=kinds == [[True, False]] * 2 and predicted.code == exported.code == 1,
        refused=trained.code == 2 and trained.says("too long"),
    )
