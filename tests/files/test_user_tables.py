"""Tables that users write: what spreadsheets and hands leave in them doesn't count."""

import os
from pathlib import Path

import pytest

from clan_tf.errors import UserError
from clan_tf.files import UserTable, read_user_table


def read(folder: Path, text: str, *columns: str) -> UserTable:
    path = folder / "table.csv"
    path.write_bytes(text.encode())
    return read_user_table(path, "the.key", columns)


def rows(table: UserTable) -> list[tuple[int, tuple[str, ...]]]:
    return [(row.line, row.cells) for row in table.rows]


def mistake(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, text)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_spaces_blank_rows_and_empty_last_cells_do_not_count(
    tmp_path: Path, separator: str, end: str, mark: str
) -> None:
    lines = ["", " a |b |c|| ", "1|\xa02|3", "||", "", '"4"', "  5|||||", "||6 "]
    table = read(tmp_path, mark + end.join(lines).replace("|", separator))
    assert table.columns == ("a", "b", "c") and table.line == 2 and table.separator == separator
    assert rows(table) == [(3, ("1", "2", "3")), (6, ("4", "", "")), (7, ("5", "", "")), (8, ("", "", "6"))]
    assert [row.problem for row in table.rows] == [None] * 4


def test_remarks_beside_the_table_do_not_count(tmp_path: Path) -> None:
    table = read(tmp_path, "a,b,,\n1,2,a remark\n3,4,,another\n5,6,,,7\n")
    assert table.columns == ("a", "b") and [row.cells for row in table.rows] == [("1", "2"), ("3", "4"), ("5", "6")]
    assert [row.problem is None for row in table.rows] == [True, True, False]


def test_lines_are_counted_through_line_ends_in_quotes(tmp_path: Path) -> None:
    table = read(tmp_path, 'a,"b\nc"\n"1\n2",3\n\n4,5,6\n')
    assert table.columns == ("a", "b\nc") and table.line == 2
    assert rows(table) == [(4, ("1\n2", "3")), (6, ("4", "5"))]
    assert table.rows[1].problem == "has 3 values for 2 columns; a value with a separator in it needs quotes"


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("Klasse;Gattung, Art\nrook;Corvus\njay;Garrulus", (), ("Klasse", "Gattung, Art")),
        ("Klasse;Gattung, Art, Unterart\nrook;Corvus", (), ("Klasse", "Gattung, Art, Unterart")),
        ("class,genus; species\nrook,Corvus", (), ("class", "genus; species")),
        ("label;path, of the photo;path\na,b;c,d;e", ("path", "label"), ("label", "path, of the photo", "path")),
        ('"a;b";"c"\n1;2', (), ("a;b", "c")),
        ("a,b;c", (), ("a", "b;c")),
        ("one", (), ("one",)),
        ("", (), ()),
    ],
)
def test_the_separator_is_the_one_by_which_header_and_rows_agree(
    tmp_path: Path, text: str, columns: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert read(tmp_path, text, *columns).columns == expected


def test_a_column_that_is_asked_for_stands_there_once(tmp_path: Path) -> None:
    table = read(tmp_path, "path,note,label, note \n")
    assert (table.index("label"), table.index("split")) == (2, None)
    with pytest.raises(UserError, match=r"^the.key: .*table.csv, line 1: names the column 'note' 2 times\. Rename"):
        table.index("note")


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    place = f"the.key: {tmp_path / 'table.csv'}"
    assert mistake(tmp_path, 'a,b\n1,"2\n3,4\n').startswith(f"{place}: can't be read as a CSV table: unexpected end")
    assert "field larger" in mistake(tmp_path, "a,b\n" + "1" * 200_000)
    (tmp_path / "latin.csv").write_bytes(b"a,b\n\xfc,1\n")
    with pytest.raises(UserError, match=r"latin.csv isn't UTF-8 \(line 2\)"):
        read_user_table(tmp_path / "latin.csv", "the.key")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match="isn't a regular file"):
        read_user_table(tmp_path / "pipe.csv", "the.key")
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(UserError, match="is too large"):
        read_user_table(tmp_path / "huge.csv", "the.key")


def test_a_cell_is_spelled_as_written_before_it_is_trimmed(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "a,b\n x ,y\n").rows
    assert row.spellings(0) == [" x ", "x"] and row.spellings(1) == ["y"]
