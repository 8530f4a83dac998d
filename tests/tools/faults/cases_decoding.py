"""The cases of `faults` about pixels: every reader the same, or the same refusal."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import PYTHON, SECONDS, Bench, Verdict, judge
from cases_data import check, train

Read = Mapping[str, Mapping[str, Any]]


def agree(read: Read) -> bool:
    """Whether every reader gives the same of every photo."""
    return bool(read) and all(len(set(about["readers"].values())) == 1 for about in read.values())


def served(read: Read) -> bool:
    """Whether `serve_bytes` answers as the run does, or refuses the photo."""
    return all(isinstance(about["serve_bytes"], str) or about["serve_bytes"] < 1e-3 for about in read.values())


def same_picture(read: Read, *names: str) -> bool:
    """Whether photos are decoded to the same pixels."""
    return len({about["readers"]["predict RUN"] for about in (read[name] for name in names)}) == 1


def refused(read: Read, *names: str) -> bool:
    """Whether photos have no pixels."""
    return all("size" not in read[name] for name in names)


def near(about: Mapping[str, Any], colour: Iterable[int], levels: int = 3) -> bool:
    """Whether the mean colour of a photo is as it should be."""
    return "mean" in about and all(abs(one - other) <= levels for one, other in zip(about["mean"], colour, strict=True))


def told(read: Read) -> str:
    """What a table says of photos."""
    return "; ".join(
        f"{name} {about['mean'] if 'mean' in about else 'refused by all'}"
        if len(set(about["readers"].values())) == 1
        else f"{name} differs: {about['readers']}"
        for name, about in sorted(read.items())
    )


def photo_of(bench: Bench) -> Path:
    """A JPEG for the `make.py` of a decoding case, with detail in every direction."""
    source = bench.folder / "photo.jpg"
    script = (
        "import sys, numpy as np; from PIL import Image; y, x = np.mgrid[0:224, 0:320];"
        "a = np.stack([x * 255 // 320, y * 255 // 224, (x * y // 97) % 256], -1).astype('uint8');"
        "a[:60, :90] = (220, 40, 40); Image.fromarray(a).save(sys.argv[1], quality=95)"
    )
    subprocess.run([PYTHON, "-c", script, source], check=True, timeout=SECONDS)
    return source


def made_and_read(bench: Bench, case: str) -> Read:
    """What the readers make of all photos of a decoding case."""
    return bench.readers(*sorted(bench.make(case, photo_of(bench)).iterdir()))


def data_09(bench: Bench) -> Verdict:
    """BMPs with a palette or colour masks are red, 219,40,40, for every reader."""
    read = bench.readers(*sorted(bench.make("data-09").glob("same*")))
    red = {name: near(about, (219, 40, 40)) for name, about in read.items()}
    same = same_picture(read, "same_8bit.bmp", "same_8bit.png")
    return judge(told(read), readers_agree=agree(read), serve_bytes=served(read), red=all(red.values()), same=same)


def data_10(bench: Bench) -> Verdict:
    """A WebP with transparency is decoded like the PNG, and isn't damaged."""
    made = bench.make("data-10")
    read, checked = bench.readers(*sorted((made / "d/cat").glob("cutout*"))), check(bench, made, "d")
    return judge(
        f"{told(read)}; data check: exit {checked.code}",
        readers_agree=agree(read),
        serve_bytes=served(read),
        like_the_png=same_picture(read, "cutout.webp", "cutout.png"),
        none_is_broken=not checked.json["broken"],
    )


def data_11(bench: Bench) -> Verdict:
    """Transparent GIFs, a small first frame and CMYK without Adobe's marker: one picture everywhere."""
    read = bench.readers(*sorted(bench.make("data-11").glob("same*")))
    opaque, small = read["same_opaque.gif"], read["same_small_frame.gif"]
    return judge(
        told(read),
        readers_agree=agree(read),
        serve_bytes=served(read),
        transparency_dropped=same_picture(read, "same_opaque.gif", "same_transparent.gif"),
        whole_canvas=small.get("size") == [160, 160] and small["mean"][1] > opaque["mean"][1],
        cmyk_is_no_negative=near(read["same_cmyk_no_adobe.jpg"], opaque["mean"], 6),
    )


def data_19(bench: Bench) -> Verdict:
    """Orientation in XMP or a raw profile: one rule everywhere, exports too, and the gate passes."""
    made = bench.make("data-19")
    found, holds = [], {}
    for kind in ("xmp", "raw"):
        run = made / f"run-{kind}"
        options = ("--set", "training.epochs=2", "--set", "data.flip=false", "--run-dir", run)
        trained = train(bench, made, kind, *options)
        exported = bench.clan_tf("export", run, "--format", "saved_model")
        read = bench.readers(made / kind / "left/00.png", made / kind / "top/00.png")
        found.append(f"{kind}: train exit {trained.code}, export exit {exported.code}, {told(read)}")
        holds[f"{kind}_trains_and_exports"] = trained.code == exported.code == 0
        holds[f"{kind}_readers_agree"] = agree(read) and all(row["serve_bytes"] < 1e-3 for row in read.values())
        holds[f"{kind}_not_turned"] = read["00.png"]["size"] == [96, 64]
    return judge("; ".join(found), **holds)


def decoding_01(bench: Bench) -> Verdict:
    """BMPs of 1, 4, 8 and 16 bits: the same pixels for every reader; palette.bmp as same.png, inverted as grey.png."""
    read = made_and_read(bench, "decoding/01")
    return judge(
        told(read),
        readers_agree=agree(read),
        serve_bytes=served(read),
        palette=same_picture(read, "palette.bmp", "same.png"),
        inverted=same_picture(read, "inverted.bmp", "grey.png"),
        all_decoded=all("size" in about for about in read.values()),
    )


def decoding_02(bench: Bench) -> Verdict:
    """Orientation, wherever it stands: one answer of all readers, `serve_bytes` among them."""
    read = made_and_read(bench, "decoding/02")
    served_all = all(not isinstance(row["serve_bytes"], str) and row["serve_bytes"] < 1e-3 for row in read.values())
    sizes = {name: about.get("size") for name, about in read.items()}
    return judge(
        ", ".join(f"{name} {size}" for name, size in sizes.items()),
        readers_agree=agree(read),
        serve_bytes_too=served_all,
        exif_turns=sizes["right.jpg"] == [224, 320],
    )


def decoding_03(bench: Bench) -> Verdict:
    """WebP with alpha answers as the PNG and the WebP without alpha do."""
    read = made_and_read(bench, "decoding/03")
    alike = same_picture(read, "alpha.webp", "alpha.png", "plain.webp")
    return judge(told(read), readers_agree=agree(read), serve_bytes=served(read), alike=alike)


def decoding_05(bench: Bench) -> Verdict:
    """CMYK without Adobe's marker isn't a negative for any reader."""
    read = made_and_read(bench, "decoding/05")
    close = near(read["cmyk_plain.jpg"], read["rgb.jpg"]["mean"], 4)
    return judge(told(read), readers_agree=agree(read), serve_bytes=served(read), as_rgb=close)


def decoding_06(bench: Bench) -> Verdict:
    """Exports and predictions work in folders with [ or a backslash in their names."""
    holds, codes = {}, []
    for name in ("v[1]", "a\\b"):
        output = bench.folder / name / "e"
        ended = bench.clan_tf("export", bench.base, "--format", "saved_model", "--samples", 12, "--output", output)
        codes.append(f"{name}: export exit {ended.code}")
        holds[f"exports_to_{name}"] = ended.code == 0
    copied = bench.folder / "v[1]/copied"
    shutil.copytree(bench.saved_model.parent, copied)
    predicted = bench.clan_tf("predict", copied, bench.photo, "--top", 1)
    return judge(f"{'; '.join(codes)}; predict: exit {predicted.code}", predicts=predicted.code == 0, **holds)


def decoding_07(bench: Bench) -> Verdict:
    """Of a folder with ._ files, __MACOSX and a HEIC only the photo is predicted; a HEIC by name is refused alike."""
    out = bench.folder / "made/p"
    out.mkdir(parents=True)
    script = bench.faults / "decoding/07/make.sh"
    subprocess.run(["bash", script, photo_of(bench), out], check=True, timeout=SECONDS)
    found, sentences, holds = [], [], {}
    for name, model in (("run", bench.base), ("export", bench.tflite)):
        folder = bench.clan_tf("predict", model, out, "--json")
        names = [Path(row["path"]).name for row in folder.json]
        heic = bench.clan_tf("predict", model, bench.folder / "made/heic_named.jpg", "--json")
        sentences.append(heic.json[0]["error"])
        found.append(f"{name}: exit {folder.code}, {names}")
        holds[f"{name}_one_photo"] = names == ["IMG_1.jpg"] and folder.code == 0
        holds[f"{name}_heic_noted"] = folder.says("isn't decoded", "IMG_2.HEIC")
        holds[f"{name}_heic_refused"] = heic.code == 1 and "HEIC" in sentences[-1]
    return judge(f"{'; '.join(found)}; {sentences[0]}", same_sentence=len(set(sentences)) == 1, **holds)


def decoding_09(bench: Bench) -> Verdict:
    """Damaged photos get the same verdict from runs and exports."""
    read = made_and_read(bench, "decoding/09")
    return judge(
        "; ".join(f"{name}: {about['readers']['predict RUN']}" for name, about in sorted(read.items())),
        readers_agree=agree(read),
        damaged_ones_refused=refused(read, "cut_and_closed.jpg"),
        first_frame="size" in read["animated.webp"],
    )


def decoding_10(bench: Bench) -> Verdict:
    """A photo of 108 megapixels is answered without a warning; one of 200 gets one plain sentence."""
    made = bench.make("decoding/10", photo_of(bench))
    found, holds, sentences = [], {}, []
    for name, model in (("run", bench.base), ("export", bench.tflite)):
        ended = bench.clan_tf("predict", model, made / "108.jpg", made / "200.jpg", "--json")
        first, second = ended.json
        sentences.append(second.get("error", "answered"))
        found.append(f"{name}: exit {ended.code}")
        holds[f"{name}_answers"] = "predictions" in first
        holds[f"{name}_quiet"] = "warning" not in ended.err.lower()
    plain = len(set(sentences)) == 1 and "pixels" in sentences[0] and "bomb" not in sentences[0]
    return judge(f"{'; '.join(found)}; {sentences[0]}", one_plain_sentence=plain, **holds)
