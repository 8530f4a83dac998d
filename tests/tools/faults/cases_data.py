"""The cases `data-*` of `faults`: which photos there are, and what is said of them."""

import os
import shlex
from pathlib import Path
from typing import Any

from bench import Bench, Ended, Verdict, class_counts, judge


def check(bench: Bench, made: Path, root: str, *options: object) -> Ended:
    """`data check --json` on one of the folders that a case made."""
    return bench.clan_tf("data", "check", made / "tiny.yaml", "--set", f"data.root={made / root}", "--json", *options)


def train(bench: Bench, made: Path, root: str, *options: object, **limits: Any) -> Ended:
    """`train` on one of the folders that a case made, in the run directory `run`; `limits` are those of `execute`."""
    run = ("--run-dir", made / "run") if "--run-dir" not in options else ()
    return bench.clan_tf("train", made / "tiny.yaml", "--set", f"data.root={made / root}", *run, *options, **limits)


def data_01(bench: Bench) -> Verdict:
    """Photos in hidden and system folders inside a class are left out, with a count."""
    ended = check(bench, bench.make("data-01"), "d")
    cats, left = class_counts(ended.json)["cat"], ended.json["left_out"]["files"]
    return judge(f"{cats} cats, left out {left}", eight_cats=cats == 8, counted=sum(left.values()) == 24)


def data_02(bench: Bench) -> Verdict:
    """The photos of a linked folder inside a class are read."""
    ended = check(bench, bench.make("data-02"), "d")
    cats = class_counts(ended.json)["cat"]
    return judge(f"{cats} cats", sixteen_cats=cats == 16, succeeds=ended.code == 0)


def data_04(bench: Bench) -> Verdict:
    """training_set/, train-images/ and seg_train/seg_train/ are splits, or refused; they are never classes."""
    made = bench.make("data-04")
    expected = {"d": {"cats", "dogs"}, "e": {"cats", "dogs"}, "f": {"forest", "sea"}}
    found, holds = [], {}
    for root, names in expected.items():
        ended = check(bench, made, root)
        counts = class_counts(ended.json) if ended.out else {}
        tests = ended.json["splits"]["test"]["total"] if ended.out else None
        found.append(f"{root}: exit {ended.code}, {counts}, {tests} test photos")
        holds[f"{root}_understood"] = set(counts) == names and tests == 8 and set(counts.values()) == {12}
    return judge("; ".join(found), **holds)


def data_05(bench: Bench) -> Verdict:
    """Photos beside class folders and of a flat split are counted in a note; dev/ and holdout/ are refused."""
    made = bench.make("data-05")
    loose, dev, flat = (check(bench, made, root) for root in ("loose", "dev", "flat"))
    left = [ended.json["left_out"]["files"] if ended.out else {} for ended in (loose, flat)]
    return judge(
        f"loose {left[0]}; dev: exit {dev.code}, {dev.err.strip()[:120]}; flat {left[1]}",
        six_loose=sum(left[0].values()) == 6 and "6 photos" in " ".join(loose.json["notes"]),
        ten_flat=sum(left[1].values()) == 10 or "10 photos" in " ".join(flat.json["notes"]),
        dev_refused=dev.code == 2 and dev.says("dev/", "holdout/"),
    )


def data_12(bench: Bench) -> Verdict:
    """A JPEG with zeros in its middle is named by `data check`, and before training, which stops."""
    made = bench.make("data-12")
    checked, trained = check(bench, made, "d"), train(bench, made, "d")
    broken = [Path(entry["path"]).name for entry in checked.json["broken"]]
    return judge(
        f"data check: exit {checked.code}, broken {broken}; train: exit {trained.code}",
        check_names_it=broken == ["rotten.jpg"] and checked.code == 1,
        train_names_it=trained.code in (1, 2) and trained.says("rotten.jpg"),
        no_run_is_left=not (made / "run").exists(),
    )


def data_13(bench: Bench) -> Verdict:
    """Class names with dollar signs are drawn as text."""
    made = bench.make("data-13")
    trained, checked = train(bench, made, "d"), check(bench, made, "d", "--samples", made / "samples")
    pictures = sorted(path.name for path in (made / "samples").glob("*.png"))
    return judge(
        f"train: exit {trained.code}; data check --samples: exit {checked.code}, {pictures}",
        trains=trained.code == 0,
        samples=checked.code == 0 and len(pictures) == 2,
    )


def data_14(bench: Bench) -> Verdict:
    """Names that aren't UTF-8 work in every verb, or are refused by name: by `data check` as by training."""
    made = bench.make("data-14")
    found, holds = [], {}
    for root in ("files", "folders"):
        run = made / f"run_{root}"
        checked, trained = check(bench, made, root), train(bench, made, root, "--run-dir", run)
        found.append(f"{root}: data check exit {checked.code}, train exit {trained.code}")
        can_start = checked.code == 0 and checked.json["can_start"]
        named = trained.code == 2 and trained.says("caf\\xe9")
        holds[f"{root}_one_verdict"] = can_start == (trained.code == 0)
        holds[f"{root}_works_or_named"] = (trained.code == 0 and (run / "evaluation").is_dir()) or named
    predicted = bench.clan_tf("predict", bench.base, made / "files/cat", "--json")
    found.append(f"predict exit {predicted.code}, {len(predicted.json)} photos")
    return judge("; ".join(found), predicts=predicted.code == 0 and len(predicted.json) == 10, **holds)


def data_16(bench: Bench) -> Verdict:
    """`predict FOLDER` takes what training takes: .jfif, .jpe, no suffix, links; hidden ones are left out."""
    made = bench.make("data-16")
    trained = train(bench, made, "q")
    predicted = bench.clan_tf("predict", made / "run", made / "p", "--json")
    names = sorted(Path(row["path"]).name for row in predicted.json)
    return judge(
        f"train: exit {trained.code}; predict: exit {predicted.code}, {' '.join(names)}",
        trains=trained.code == 0,
        all_and_no_more=names == ["a.jpg", "b.jfif", "c.JPG", "d.jpe", "e", "f.jpg.1", "l.jpg"],
        succeeds=predicted.code == 0,
        hidden_noted=predicted.says("1 hidden file", "1 hidden folder"),
    )


def data_17(bench: Bench) -> Verdict:
    """With one or two photos a class `data check` and `train` give one verdict, with what to do."""
    made = bench.make("data-17")
    found, holds = [], {}
    for root in ("one", "two"):
        batch = ("--set", "training.batch_size=2")
        checked, trained = check(bench, made, root, *batch), train(bench, made, root, *batch)
        can_start, problems = checked.json["can_start"], checked.json["problems"]
        found.append(f"{root}: can_start {can_start}, train exit {trained.code}, {problems}")
        holds[f"{root}_one_verdict"] = can_start == (trained.code == 0)
        holds[f"{root}_same_sentences"] = all(map(trained.says, problems)) and bool(problems) != can_start
    return judge("; ".join(found), **holds)


def data_21(bench: Bench) -> Verdict:
    """A class name of two lines is refused before training."""
    made = bench.make("data-21")
    trained, checked = train(bench, made, "d"), check(bench, made, "d")
    return judge(
        f"train: exit {trained.code}, {trained.err.strip()[:160]}; data check: exit {checked.code}",
        refused=trained.code == 2 and trained.says("albatross"),
        before_training=not (made / "run").exists(),
        check_refuses_too=checked.code in (1, 2),
    )


def attack_09(bench: Bench) -> Verdict:
    """Photo names that aren't UTF-8, with strict output, lose no answer; `data check --quarantine` runs."""
    name = os.fsencode(bench.folder / "p") + b"/caf\xe9.jpg"
    (bench.folder / "p").mkdir()
    Path(os.fsdecode(name)).write_bytes(bench.photo.read_bytes())
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    plain = bench.clan_tf("predict", bench.base, "p", env=strict)
    as_json = bench.clan_tf("predict", bench.base, "p", "--json", env=strict)
    for label, letter in enumerate("ab"):
        folder = bench.folder / "d" / letter
        folder.mkdir(parents=True)
        for photo in (bench.shared / f"photos/class_{label}").iterdir():
            (folder / photo.name).write_bytes(photo.read_bytes())
    twin = os.fsencode(bench.folder) + b"/d/a/caf\xe9.jpg"
    Path(os.fsdecode(twin)).write_bytes((bench.folder / "d/a/01.jpg").read_bytes())
    data = ("--set", "data.source=folders", "--set", "data.root=d", "--set", "training.batch_size=8")
    checked = bench.clan_tf("data", "check", *data, "--quarantine", "q.txt", env=strict)
    cleaned = bench.clan_tf("data", "check", *data, "--set", "data.quarantine=q.txt", "--json", env=strict)
    return judge(
        f"predict: exits {plain.code} and {as_json.code}; data check: exits {checked.code} and {cleaned.code}",
        answers=plain.code == 0 and len(as_json.json[0]["predictions"]) == 3,
        name_is_shown=plain.says("caf\\xe9.jpg"),
        check_runs=checked.code in (0, 1) and (bench.folder / "q.txt").exists() and checked.says("q.txt"),
        list_is_read=cleaned.code == 0 and sum(class_counts(cleaned.json).values()) == 44,
    )


def attack_16(bench: Bench) -> Verdict:
    """The command that `data check` without CONFIG advises is one that runs."""
    data = ("--set", "data.source=folders", "--set", f"data.root={bench.shared / 'photos'}")
    checked = bench.clan_tf("data", "check", *data)
    lines = [line.strip() for line in (checked.out + checked.err).splitlines() if line.strip().startswith("clan-tf ")]
    words = shlex.split(lines[-1])[1:] if lines else []
    advised = bench.clan_tf(*words, "--dry-run") if words else checked
    return judge(
        f"data check: exit {checked.code}; advised {shlex.join(words[:3])} …: exit {advised.code}",
        advises_training=words[:1] == ["train"],
        it_runs=advised.code == 0,
    )


def attack_18(bench: Bench) -> Verdict:
    """One test photo whose name isn't UTF-8: training ends with its evaluation, or is refused before it starts."""
    for split in ("train", "test"):
        for label in (0, 1):
            folder = bench.folder / "d" / split / f"class_{label}"
            folder.mkdir(parents=True)
            for photo in sorted((bench.shared / f"photos/class_{label}").iterdir())[:: 1 if split == "train" else 5]:
                (folder / photo.name).write_bytes(photo.read_bytes())
    other = os.fsencode(bench.folder) + b"/d/test/class_0/caf\xe9.jpg"
    (bench.folder / "d/test/class_0/00.jpg").rename(os.fsdecode(other))
    short = ("--set", "training.epochs=1")
    trained = bench.clan_tf("train", bench.tiny, "--set", "data.root=d", *short, "--run-dir", "run")
    evaluated = (bench.folder / "run/evaluation/test").is_dir()
    resumed = bench.clan_tf("train", "--run-dir", "run", "--resume")
    reported = bench.clan_tf("report", "run", "--output", "r.html")
    page = bench.folder / "r.html"
    return judge(
        f"train: exit {trained.code}; --resume: exit {resumed.code}; report: exit {reported.code}",
        trained_and_evaluated=trained.code == 0 and evaluated,
        resumes=resumed.code == 0,
        reports=reported.code == 0 and page.exists() and bool(page.read_text(encoding="utf-8")),
    )
