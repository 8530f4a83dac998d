"""Tables of photos: paths, labels and splits, and every mistake that they may hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from helpers.photos import write_photo
from helpers.sources import GREY, by_file, mistake, write_lines


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Nine photos in `photos/`, and the path of a table beside it."""
    for index in range(9):
        write_photo(tmp_path / "photos" / f"{index:03d}.jpg", GREY)
    return tmp_path / "photos.csv"


LABELS = ("007", "F-16A/B", 'grün, "matt"')


def rows_of(labels: Sequence[str] = LABELS, photos: int = 9) -> list[str]:
    quoted = ['"' + label.replace('"', '""') + '"' for label in labels]
    return [f"photos/{index:03d}.jpg,{quoted[index % len(quoted)]}" for index in range(photos)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_labels_are_kept_exactly_and_test_photos_are_cut(table: Path, encoding: str) -> None:
    table.write_text("\n".join(["path,label", *rows_of()]), encoding=encoding)
    source = read_source(DataConfig(source="csv", root=table.parent))
    assert source.class_names == LABELS
    assert {split: len(photos) for split, photos in source.splits.items()} == {"train": 3, "val": 3, "test": 3}
    assert {name: photo.label for name, photo in by_file(source).items()} == {f"{i:03d}.jpg": i % 3 for i in range(9)}


def test_csv_labels_that_are_the_same_text_are_one_class_and_those_that_look_alike_are_refused(table: Path) -> None:
    write_lines(table, "path,label", *rows_of([" caf\u00e9\u00a0", "cafe\u0301\u200b", "bar"]))
    assert read_source(DataConfig(source="csv", csv=table)).class_names == ("bar", "caf\u00e9")
    write_lines(table, "path,label", *rows_of(["hen", "Hen", "he\u200bn"]))
    text = mistake(source="csv", csv=table)
    assert "'Hen'" not in text
    assert "line 4: label: 'he\\u200bn' looks like 'hen' on line 2" in text
    write_lines(table, "path,label", *rows_of(["hen", "two\nlines", "\u200b"], 3))
    text = mistake(source="csv", csv=table)
    assert "line 4: label: has a line end or another control character in it; received 'two\\x0alines'" in text
    assert "line 5: label: is empty" in text


def test_one_photo_under_two_spellings_is_refused(table: Path) -> None:
    write_lines(table, "path,label", "photos/000.jpg,hen", "photos/001.jpg,cock", "photos/../photos/000.jpg,cock")
    assert "path: 'photos/../photos/000.jpg' is on line 2 too" in mistake(source="csv", csv=table)


def test_csv_splits_are_those_of_the_table(table: Path) -> None:
    splits = ["train", "train", "train", "valid", "validation", "val", "test", "test", "test"]
    rows = [f"{row},{split},ignored" for row, split in zip(rows_of(), splits, strict=True)]
    write_lines(table, "path,label,split,note", *rows)
    source = read_source(DataConfig(source="csv", csv=table))
    assert set(by_file(source, "val")) == {"003.jpg", "004.jpg", "005.jpg"}
    assert set(by_file(source, "test")) == {"006.jpg", "007.jpg", "008.jpg"}


def test_csv_paths_are_relative_to_the_root_or_else_to_the_table(table: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("tables") / "list.csv"
    write_lines(elsewhere, "label,path", *(f"{'ab'[index % 2]},{index:03d}.jpg" for index in range(9)))
    assert len(by_file(read_source(DataConfig(source="csv", csv=elsewhere, root=table.parent / "photos")))) == 9
    assert "mistakes in 9 of 9 rows" in mistake(source="csv", csv=elsewhere)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_may_have_semicolons_or_tabs_between_its_columns(table: Path, separator: str) -> None:
    """As spreadsheets write them in many countries."""
    rows = [("path", "label"), *((f"photos/{index:03d}.jpg", f"bird, {index % 2}") for index in range(9))]
    write_lines(table, *(separator.join(row) for row in rows))
    source = read_source(DataConfig(source="csv", root=table.parent))
    assert source.class_names == ("bird, 0", "bird, 1")
    assert len(by_file(source)) == 9


def test_paths_may_be_written_as_windows_does(table: Path, tmp_path: Path) -> None:
    (tmp_path.parent / "secret.jpg").write_bytes(b"")
    write_lines(table, "path,label", *(row.replace("/", "\\", 1) for row in rows_of(("hen", "cock"))))
    assert len(by_file(read_source(DataConfig(source="csv", root=table.parent)))) == 9
    write_lines(table, "path,label", "..\\secret.jpg,a", "C:\\photos\\000.jpg,a", "photos\\none.jpg,b", "photos,b")
    text = mistake(source="csv", root=tmp_path)
    assert "line 2: path: '../secret.jpg' leaves" in text
    assert r"line 3: path: 'C:\\photos\\000.jpg' begins with a drive of Windows. Write where the photo is in" in text
    assert f"line 4: path: there is no {tmp_path}/photos/none.jpg" in text
    assert f"line 5: path: {tmp_path}/photos is a folder, not a photo" in text


def test_every_mistake_in_a_csv_is_named_with_its_line(table: Path, tmp_path: Path) -> None:
    (tmp_path.parent / "secret.jpg").write_bytes(b"")
    bad = [
        "photos/000.jpg,a,train",
        "photos/001.jpg, ,train",
        "photos/002.jpg,a,training set",
        "photos/000.jpg,b,test",
        "../secret.jpg,b,test",
        "photos/999.jpg,b,test",
        "photos/003.jpg,b, with a comma,test",
        "photos/004.jpg,b",
        ",b,test",
    ]
    write_lines(table, "path,label,split", *bad)
    text = mistake(source="csv", root=tmp_path)
    assert "mistakes in 8 of 9 rows" in text
    for line in (
        "line 3: label: is empty",
        "line 4: split: must be train, val or test; received 'training set'",
        "line 5: path: 'photos/000.jpg' is on line 2 too",
        "line 6: path: '../secret.jpg' leaves",
        "line 7: path: there is no",
        "line 8: has 4 values for 3 columns; a value with a separator in it needs quotes",
        "line 9: split: must be train, val or test; received ''",
        "line 10: path: is empty",
    ):
        assert line in text


@pytest.mark.parametrize("linked", ["photos", "photos/000.jpg"])
def test_a_link_that_leaves_the_root_is_named_with_its_target(table: Path, tmp_path_factory: Any, linked: str) -> None:
    link, target = table.parent / linked, tmp_path_factory.mktemp("elsewhere") / "target"
    link.rename(target)
    link.symlink_to(target)
    write_lines(table, "path,label", *rows_of())
    text = mistake(source="csv", root=table.parent)
    assert f"'photos/000.jpg' leaves {table.parent}, because {link} is a link to {target}. Set data.root" in text


def test_a_link_that_stays_in_the_root_is_followed_and_one_to_itself_refused(table: Path) -> None:
    (table.parent / "alias").symlink_to("photos")
    (table.parent / "loop.jpg").symlink_to("loop.jpg")
    write_lines(table, "path,label", *(row.replace("photos", "alias") for row in rows_of()))
    assert len(by_file(read_source(DataConfig(source="csv", root=table.parent)))) == 9
    write_lines(table, "path,label", "loop.jpg,a", "alias/../../secret.jpg,b")
    text = mistake(source="csv", root=table.parent)
    assert "line 2: path: there is no" in text and "'alias/../../secret.jpg' leaves" in text
    assert "is a link" not in text


def test_only_the_first_twenty_mistakes_of_a_csv_are_listed(table: Path) -> None:
    write_lines(table, "path,label", *(f"none/{index}.jpg,a" for index in range(25)))
    text = mistake(source="csv", root=table.parent)
    assert text.count("there is no") == 20 and "and 5 more" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"path:label\na.jpg:b\n", "no column path and no column label"),
        (b"path,class\na.jpg,b\n", "no column label"),
        (b"path,label\n", "no rows"),
        (b"", "no column path"),
        ("path,label\na.jpg,grün\n".encode("latin-1"), "isn't UTF-8 (line 2)"),
        (b'path,label\na.jpg,"b\n', "can't be read as a CSV table"),
        (b"path,label,split\nphotos/000.jpg,a,test\n", "no row has the split 'train'"),
    ],
)
def test_a_csv_that_is_none_is_refused(table: Path, content: bytes, expected: str) -> None:
    table.write_bytes(content)
    assert expected in mistake(source="csv", root=table.parent)


def test_a_csv_with_one_label_speaks_of_the_table_and_its_labels(table: Path) -> None:
    write_lines(table, "path,label", *rows_of(["a"]))
    for data in ({"root": table.parent}, {"csv": table}):
        text = mistake(source="csv", **data)
        assert text.startswith(f"data.csv: {table} has one class ('a')")
        assert "in the column label" in text and "folder" not in text
    write_lines(table, "path,label,split", "photos/000.jpg,a,train", "photos/001.jpg,b,test")
    assert f"data.csv: {table} has no train photos of 'b'" in mistake(source="csv", csv=table)


def test_a_csv_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    assert "needs the table" in mistake(source="csv")
    assert "there is no file" in mistake(source="csv", root=tmp_path)
    assert "there is no file" in mistake(source="csv", csv=tmp_path / "list.csv")


def test_ordinary_columns_are_ignored_and_other_spellings_of_split_refused(table: Path) -> None:
    for name in ("site", "pilot", "plot", "spot", "slot", "spilt", "subset"):
        write_lines(table, f"path,label,{name}", *(f"{row},north" for row in rows_of()))
        source = read_source(DataConfig(source="csv", csv=table))
        assert len(by_file(source)) == 9 and not any(name in note for note in source.notes)
    for name in ("Split", "SPLIT ", "splits", '" Splits"'):
        write_lines(table, f"path,label,{name}", *(f"{row},train" for row in rows_of()))
        plain = name.strip('" ')
        assert f"line 1: no such column {plain!r}. Did you mean split?" in mistake(source="csv", csv=table)
        assert len(by_file(read_source(DataConfig(source="csv", csv=table, group=f"column:{plain}")))) == 9


def test_an_unused_column_that_holds_splits_is_noted(table: Path) -> None:
    splits = ["train", "Training", "validation"] * 3
    write_lines(table, "path,label,set", *(f"{row},{split}" for row, split in zip(rows_of(), splits, strict=True)))
    (note,) = (note for note in read_source(DataConfig(source="csv", csv=table)).notes if "'set'" in note)
    assert note.startswith(f"data.csv: {table}: the column 'set' holds names of splits") and "name it split" in note


def test_a_column_that_is_used_stands_there_once(table: Path) -> None:
    for columns in ("path,label,label", "path,label, path ", "path,label,split,split"):
        write_lines(table, columns, *(f"{row},a,b" for row in rows_of()))
        assert "line 1: names the column" in mistake(source="csv", csv=table)
    write_lines(table, "path,label,site,site", *(f"{row},a,b" for row in rows_of()))
    assert len(by_file(read_source(DataConfig(source="csv", csv=table)))) == 9
    assert "names the column 'site' 2 times" in mistake(source="csv", csv=table, group="column:site")


def test_what_spreadsheets_and_hands_leave_in_a_table_does_not_count(table: Path) -> None:
    """Spaces around names and cells, blank rows, and rows that end before their empty last cells."""
    rows = [f" photos/{index:03d}.jpg , {'ab'[index % 2]} , train " for index in range(9)]
    write_lines(table, " path,label , split,site,,", "", ",,", *rows[:5], ",,,,,", *rows[5:], ",,", "")
    source = read_source(DataConfig(source="csv", csv=table))
    assert source.class_names == ("a", "b") and len(by_file(source, "train", "val")) == 9
    write_lines(table, "path,label", "", ",", "photos/000.jpg,a", '"photos/none\n",b')
    assert "line 6: path: there is no" in mistake(source="csv", csv=table)


def test_names_of_photos_that_begin_or_end_with_a_space_are_found_as_written(table: Path) -> None:
    (table.parent / "photos" / "001.jpg").rename(table.parent / "photos" / "000.jpg ")
    write_lines(table, "path,label", "photos/000.jpg ,a", "photos/000.jpg,b", "photos/002.jpg ,b", "photos/003.jpg,a")
    assert set(by_file(read_source(DataConfig(source="csv", csv=table)))) == {
        "000.jpg ",
        "000.jpg",
        "002.jpg",
        "003.jpg",
    }
