"""`data.taxonomy`: tables as people write them, and what is said about their mistakes."""

from pathlib import Path

import pytest

from clan_tf.config import DataConfig, load_experiment
from clan_tf.data import Source
from clan_tf.data.check.readiness import taxonomy_findings, training_problems
from clan_tf.data.sources.taxonomy_table import read_taxonomy
from clan_tf.errors import UserError
from clan_tf.taxonomy import Taxonomy
from helpers import TINY_DEMO
from helpers.sources import write_lines

CLASSES = ["jay", "rook", "tree sparrow"]
ROWS = ["rook,Corvus,Corvidae", "jay,Garrulus,Corvidae", "tree sparrow,Passer,Passeridae"]
HEADER = "class,genus,family"


def read(path: Path | str, classes: list[str] = CLASSES) -> tuple[Taxonomy, list[str]]:
    notes: list[str] = []
    taxonomy = read_taxonomy(DataConfig(taxonomy=str(path)), classes, notes.append)
    assert taxonomy is not None
    return taxonomy, notes


def mistake(path: Path | str, classes: list[str] = CLASSES) -> str:
    with pytest.raises(UserError) as caught:
        read(path, classes)
    return str(caught.value)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "birds.csv"


def test_rows_are_brought_into_the_order_of_the_labels(table: Path) -> None:
    write_lines(table, HEADER, *ROWS)
    taxonomy, notes = read(table)
    assert taxonomy.levels == ("class", "genus", "family") and notes == []
    assert taxonomy.rows == (
        ("jay", "Garrulus", "Corvidae"),
        ("rook", "Corvus", "Corvidae"),
        ("tree sparrow", "Passer", "Passeridae"),
    )
    assert read_taxonomy(DataConfig(), CLASSES) is None


@pytest.mark.parametrize("separator", [";", "\t", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_may_come_from_a_spreadsheet(table: Path, separator: str, end: str) -> None:
    """With a byte order mark, quotes, spaces, blank rows, letters in parts, and any separator."""
    rows = [HEADER, "gru\u0308n , G 1,F", '"blue\xa0bird",G 1,F ', ",,", "rot,G 2,F", ""]
    text = end.join(row.replace(",", separator) for row in rows)
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    taxonomy, _ = read(table, ["blue\xa0bird", "grün", "rot"])
    assert taxonomy.rows == (("blue\xa0bird", "G 1", "F"), ("grün", "G 1", "F"), ("rot", "G 2", "F"))


def test_the_other_separators_may_stand_in_names(table: Path) -> None:
    write_lines(table, "Klasse;Gattung, Art", "jay;Garrulus", "rook;Corvus", "tree sparrow;Passer")
    assert read(table)[0].levels == ("Klasse", "Gattung, Art")


def test_rows_of_other_classes_are_counted_and_a_level_with_one_name_is_noted(table: Path) -> None:
    write_lines(table, HEADER, *ROWS, "crow,Corvus,Corvidae", "owl,Bubo,Strigidae")
    _, notes = read(table, ["jay", "rook"])
    assert notes == [
        f"data.taxonomy: {table} has 3 rows of classes that the data doesn't have: they aren't used",
        f"data.taxonomy: {table} has a single family, 'Corvidae': nothing is told apart on this level",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, *ROWS[:1], "tree_sparrow,Passer,Passeridae"], "no row for the class 'jay'"),
        (
            [HEADER, *ROWS[:2], "tree_sparrow,Passer,Passeridae"],
            "no row for the class 'tree sparrow'. Did you mean tree_sparrow?",
        ),
        ([HEADER, *ROWS, "jay,Garrulus,Corvidae"], "line 5: class: 'jay' is on line 3 too"),
        ([HEADER, *ROWS[:2], "tree sparrow,,Passeridae"], "line 4: genus: is empty, or nothing that can be seen"),
        ([HEADER, *ROWS[:2], "tree sparrow,\u200b,Passeridae"], "line 4: genus: is empty"),
        ([HEADER, *ROWS[:2], "tree sparrow,Passer"], "line 4: family: is empty"),
        ([HEADER, *ROWS[:2], "tree sparrow,Passer,a,b"], "line 4: has 4 values for 3 columns"),
        ([HEADER, "rook,Corvus,Corvidae", "jay,Corvus,Jays", ROWS[2]], "genus 'Corvus' is in two of the level family"),
        ([HEADER, "rook,jay,Corvidae", *ROWS[1:]], "'jay' is a name at the level class and at the level genus"),
        (["class", *CLASSES], "must have from 2 to 20 levels"),
        (["class,class,family", *ROWS], "names the level 'class' twice"),
        (["class,,family", *ROWS], "column 2 has no name in the first line"),
        (ROWS, "its first line must name the levels, such as class,genus,family; received the class 'rook'"),
        ([HEADER], "no row for the class 'jay'"),
        ([""], "is empty. Its first line must name the levels"),
        (["family,class", "F,jay", "F,rook", "G,tree sparrow"], "the classes must be in the first column; they are in"),
        ([HEADER, '"jay,Garrulus,Corvidae'], "can't be read as a CSV table"),
    ],
)
def test_each_mistake_is_named(table: Path, lines: list[str], message: str) -> None:
    write_lines(table, *lines)
    text = mistake(table)
    assert text.startswith(f"data.taxonomy: {table}: ") and message in text


def test_all_missing_classes_are_listed_up_to_twenty(table: Path) -> None:
    write_lines(table, HEADER, *ROWS)
    text = mistake(table, [*CLASSES, *(f"kind {number}" for number in range(25))])
    assert "25 mistakes" in text and "'kind 19'" in text and "'kind 20'" not in text and "… and 5 more" in text


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    assert "there is no such file" in mistake(tmp_path / "none.csv") and "there is no such" in mistake(tmp_path)
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\ngr\xfcn,G,F\n".encode("latin-1"))
    assert "latin.csv isn't UTF-8 (line 2). Save it as UTF-8" in mistake(tmp_path / "latin.csv")


def test_a_table_that_no_model_file_could_hold_is_refused(table: Path) -> None:
    classes = [f"{number:05d}" for number in range(20_000)]
    write_lines(table, HEADER, *(f"{name},{name}{'x' * 240},{name}{'y' * 240}" for name in classes))
    assert "bytes; at most 8,388,608 fit" in mistake(table, classes)


def test_names_of_classes_may_hold_their_groups() -> None:
    names = ["Corvidae__Corvus__rook", "Corvidae__Garrulus__jay", "Passeridae__Passer__tree_sparrow"]
    taxonomy, notes = read("names", names)
    assert taxonomy.levels == ("class", "level_2", "level_1") and notes == []
    assert taxonomy.rows[2] == (names[2], "Passer", "Passeridae")
    for wrong, message in (
        ([*names, "Corvidae__crow"], "has 3, and 'Corvidae__crow' has 2"),
        (CLASSES, "the classes' names must have parts with __ between them, the coarsest first; received 'jay'"),
        (["A__a", "A__ "], "a part of the class 'A__ ' is empty"),
        (["A__X__a", "B__X__b"], "level_2 'X' is in two of the level level_1: 'A'"),
    ):
        text = mistake("names", wrong)
        assert text.startswith("data.taxonomy: names: ") and message in text


def test_a_path_is_made_absolute_and_a_mistake_keeps_training_from_starting(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(table, HEADER, *ROWS[:2], "owl,Bubo,Strigidae")
    monkeypatch.chdir(table.parent)
    experiment = load_experiment(TINY_DEMO, ["data.taxonomy=birds.csv"])
    assert experiment.data.taxonomy == str(table)
    assert load_experiment(TINY_DEMO, ["data.taxonomy=names"]).data.taxonomy == "names"
    whole = Source(("jay", "rook"), {})
    assert taxonomy_findings(experiment, whole) == (
        [],
        [
            f"data.taxonomy: {table} has 1 row of classes that the data doesn't have: they aren't used",
            f"data.taxonomy: {table} has a single family, 'Corvidae': nothing is told apart on this level",
        ],
    )
    missing = f"data.taxonomy: {table}: no row for the class 'tree sparrow'."
    assert missing in training_problems(experiment, Source(tuple(CLASSES), {"train": []}))
