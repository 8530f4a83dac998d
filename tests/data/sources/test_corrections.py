"""`data.relabel`: an edited table gives photos other classes, or leaves them out."""

from pathlib import Path

import pytest

from clan_tf.config import DataConfig
from clan_tf.data import list_source, read_source
from helpers.photos import write_photo
from helpers.sources import mistake

CLASSES = ("daisy", "rose", "tulip")


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    root = tmp_path / "flowers"
    for split in ("train", "val", "test"):
        for label, name in enumerate(CLASSES):
            for index in range(3):
                write_photo(root / split / name / f"{index}.png", (60 + 60 * label, 100, 60))
    return root


def table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    path = root.parent / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def classes(root: Path, relabel: Path) -> dict[str, str]:
    """The class of every photo by its name."""
    source = read_source(DataConfig(root=root, relabel=relabel))
    return {
        Path(photo.name).relative_to(root).as_posix(): source.class_names[photo.label]
        for photos in source.splits.values()
        for photo in photos
    }


def notes(root: Path, relabel: Path) -> str:
    return "\n".join(read_source(DataConfig(root=root, relabel=relabel)).notes)


def test_only_the_edited_photos_change(flowers: Path) -> None:
    before = classes(flowers, table(flowers, "photo,label\ntrain/rose/0.png,\n"))
    after = classes(
        flowers, table(flowers, "photo,label\ntrain/rose/0.png,tulip\ntest/daisy/1.png,rose\nval/rose/2.png,\n")
    )
    assert after == before | {"train/rose/0.png": "tulip", "test/daisy/1.png": "rose"}


def test_photos_labelled_with_a_hyphen_are_left_out_and_the_others_keep_their_splits(flowers: Path) -> None:
    config = DataConfig(root=flowers, relabel=table(flowers, "photo,label\ntrain/rose/0.png,-\nval/tulip/1.png,-\n"))
    before, after = read_source(config.model_copy(update={"relabel": None})), read_source(config)
    for split, gone in (("train", 1), ("val", 1), ("test", 0)):
        assert set(after.splits[split]) <= set(before.splits[split])
        assert len(after.splits[split]) == len(before.splits[split]) - gone
    assert {split: len(photos) for split, photos in after.unused["quarantined"].items()} == {"train": 1, "val": 1}
    assert "2 photos left out" in "\n".join(after.notes)


def test_counts_are_noted(flowers: Path) -> None:
    text = "photo,label\ntrain/rose/0.png,tulip\ntrain/rose/1.png,rose\ntrain/gone.png,daisy\n"
    said = notes(flowers, table(flowers, text))
    assert "1 photo relabelled" in said and "'train/rose/0.png'" in said
    assert "1 photo that the data doesn't have, such as 'train/gone.png'" in said


def test_a_table_without_edits_says_that_it_changes_nothing(flowers: Path) -> None:
    assert "changes no label" in notes(flowers, table(flowers, "photo,label\ntrain/rose/0.png,\n"))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffphoto,label\r\ntrain/rose/0.png,tulip\r\n",
        "label;photo\ntulip;train/rose/0.png\n",
        "photo\tother\tlabel\ntrain/rose/0.png\t7\t tulip \n\t\t\n",
        "photo,label,quality\ntrain/daisy/0.png\ntrain/rose/0.png,tulip\n",
        "photo,label\n'train/rose/0.png,'tulip\n",
        'photo,label\n"train/rose/0.png","tulip"\ntrain/rose/0.png,tulip\ntrain/rose/0.png,\n',
        "photo,label\nROOT/train/rose/0.png,tulip\n",
        "photo,label\n./train//rose/0.png,tulip\n",
    ],
    ids=[
        "BOM and CRLF",
        "semicolons",
        "tabs, spaces, blank row",
        "short rows",
        "apostrophes",
        "repeated",
        "absolute",
        "dots",
    ],
)
def test_tables_of_spreadsheets_are_read(flowers: Path, text: str) -> None:
    assert classes(flowers, table(flowers, text.replace("ROOT", str(flowers))))["train/rose/0.png"] == "tulip"


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("photo,label\ntrain/rose/0.png,tullip\n", ["line 2", "no class 'tullip'", "Did you mean tulip?"]),
        ("photo,label\ntrain/rose/0.png,x\ntrain/rose/1.png,y\n", ["mistakes in 2 rows", "line 2", "line 3"]),
        ("photo,label\ntrain/rose/0.png,tulip\ntrain/rose/0.png,daisy\n", ["two labels", "line 2", "line 3"]),
        ("photo,label\nroses/0.png,tulip\n", ["names no photo that the data has", "'roses/0.png'"]),
        ("path,label\ntrain/rose/0.png,tulip\n", ["no column 'photo'", "'path,label'"]),
        ("photo,label,label\ntrain/rose/0.png,tulip,rose\n", ["line 1: names the column 'label' 2 times"]),
        ("photo,label\n,tulip\n", ["line 2", "photo: is empty"]),
        ("photo,label\ntrain/rose/0.png,tulip,1\n", ["line 2", "3 values for 2 columns"]),
        ("photo,label\n", ["no rows"]),
        ("", ["no column 'photo'"]),
        ('photo,label\n"train/rose/0.png,tulip\n', ["can't be read as a CSV table"]),
    ],
)
def test_mistakes_are_named_with_their_place(flowers: Path, text: str, reasons: list[str]) -> None:
    said = mistake(root=flowers, relabel=table(flowers, text))
    assert "data.relabel" in said and "labels.csv" in said
    assert [reason for reason in reasons if reason not in said] == []


def test_a_missing_table_and_other_encodings_are_refused(flowers: Path) -> None:
    assert "there is no file" in mistake(root=flowers, relabel=flowers / "labels.csv")
    text = "photo,label\ntrain/rose/0.png,tülip\n"
    for encoding in ("utf-16", "cp1252"):
        assert "isn't UTF-8" in mistake(root=flowers, relabel=table(flowers, text, encoding))


def test_a_class_that_loses_all_train_photos_keeps_training_from_starting(flowers: Path) -> None:
    rows = "".join(f"train/rose/{index}.png,tulip\n" for index in range(3))
    assert "no train photos of 'rose'" in mistake(root=flowers, relabel=table(flowers, f"photo,label\n{rows}"))


def test_a_class_named_like_the_mark_of_left_out_photos_is_never_meant(flowers: Path) -> None:
    for split in ("train", "val"):
        write_photo(flowers / split / "-" / "0.png", (0, 0, 0))
    said = mistake(root=flowers, relabel=table(flowers, "photo,label\ntrain/rose/0.png,-\n"))
    assert "'-' is a class of the data" in said


def test_listing_the_data_applies_labels_and_leaves_nothing_out(flowers: Path) -> None:
    relabel = table(flowers, "photo,label\ntrain/rose/0.png,tulip\ntrain/rose/1.png,-\n")
    listed, plain = (list_source(DataConfig(root=flowers, relabel=path)) for path in (relabel, None))
    assert len(listed.splits["train"]) == len(plain.splits["train"])
    assert sum(photo.label == 2 for photo in listed.splits["train"]) == 4


def test_names_are_relative_to_the_table_of_a_csv_source(flowers: Path) -> None:
    lines = [
        f"{split}/{name}/{index}.png,{name},{split}"
        for split in ("train", "val")
        for name in CLASSES
        for index in (0, 1)
    ]
    (flowers / "photos.csv").write_text("path,label,split\n" + "\n".join(lines), encoding="utf-8")
    relabel = table(flowers, "photo,label\ntrain/rose/0.png,tulip\n")
    source = read_source(DataConfig(source="csv", csv=flowers / "photos.csv", relabel=relabel))
    assert sum(photo.label == 2 for photo in source.splits["train"]) == 3


def test_two_labels_for_a_photo_under_two_names_are_refused(flowers: Path) -> None:
    for other in (f"{flowers}/train/rose/0.png", "./train/rose/0.png", " train/rose/0.png "):
        rows = f"train/rose/0.png,tulip\n{other},daisy\n"
        said = mistake(root=flowers, relabel=table(flowers, f"photo,label\n{rows}"))
        assert "two labels: 'tulip' on line 2 and 'daisy' on line 3" in said
        agreeing = table(flowers, f"photo,label\n{rows.replace('daisy', 'tulip')}")
        assert classes(flowers, agreeing)["train/rose/0.png"] == "tulip"


def test_photos_whose_names_end_with_a_space_are_found_as_written(flowers: Path) -> None:
    (flowers / "train" / "rose" / "0.png").rename(flowers / "0.png ")
    photos = ["0.png ", *(f"train/{name}/{index}.png" for name in CLASSES for index in (1, 2))]
    lines = [f"{photo},{photo.split('/')[1] if '/' in photo else 'rose'}" for photo in photos]
    (flowers / "photos.csv").write_text("path,label\n" + "\n".join(lines), encoding="utf-8")
    relabel = table(flowers, "photo,label\n0.png ,tulip\n train/rose/1.png ,daisy\n")
    source = list_source(DataConfig(source="csv", csv=flowers / "photos.csv", relabel=relabel))
    after = {Path(photo.name).relative_to(flowers).as_posix(): photo.label for photo in source.splits["train"]}
    assert (after["0.png "], after["train/rose/1.png"], after["train/rose/2.png"]) == (2, 0, 1)
