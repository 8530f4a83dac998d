"""Names with formulas, escape sequences, markup and bytes that aren't UTF-8, wherever they are shown or written."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from clan_tf.cli.console import print_json, print_table, run_safely, say
from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.check import check_data, choose_quarantined, write_quarantine
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches
from clan_tf.data.sources.selection import quarantined_photos
from clan_tf.errors import UserError
from clan_tf.explain.explain import MOST_BYTES, _written_name
from clan_tf.files import read_rows, write_csv
from clan_tf.files.tables import plain_cell, quoted_cell
from clan_tf.plots import plot_confusion, plot_labelled_photos, plot_photo_grid, save_figure
from clan_tf.report.charts import confusion_chart, short
from helpers.photos import write_photo

FORMULAS = ("=1+1", "+1", "-x", "@x", "\tx", "\rx", " =x")
ODD = ("caf\udce9.jpg", "two\nlines", "\x1b[31mred", "\x85", "'quoted'", "=a\\b\\u0041", "\u202ebidi", "back\\slash")


@pytest.mark.parametrize("text", [*FORMULAS, *ODD, "plain", "-3", "1e-5", "", "'"])
def test_a_cell_gives_its_text_back_and_begins_no_formula(text: str) -> None:
    cell = quoted_cell(text)
    assert plain_cell(cell) == text
    assert all(character.isprintable() for character in cell)
    assert (cell[:1] == "'") is (text in FORMULAS or (text in ODD and text != "back\\slash") or text == "'")


def test_a_table_of_odd_names_is_read_back(tmp_path: Path) -> None:
    names = [*FORMULAS, *ODD]
    write_csv(tmp_path / "t.csv", ["=column", "photos"], [[name, -1] for name in names])
    rows = read_rows(tmp_path / "t.csv", ["=column"], "Write it again.")
    assert rows == [{"=column": name, "photos": "-1"} for name in names]
    assert b"\x1b" not in (tmp_path / "t.csv").read_bytes()


def test_whatever_the_terminal_gets_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UserError("\x1b]0;title\a caf\udce9")

    print_table("\x1b[2J", ("\x9b1m",), [("a\x1b[31mb",), ("[bold]c",)])
    say("\x1b[2J caf\udce9")
    print_json({"caf\udce9": "\x1b\x9b\u202e"})
    with pytest.raises(SystemExit):
        run_safely(fail)
    output = capsys.readouterr()
    for text in (output.out, output.err):
        assert not {"\x1b", "\x9b", "\a", "\u202e", "\udce9"} & set(text)
    assert "a\\x1b[31mb" in output.out and "[bold]c" in output.out and "caf\\xe9" in output.err
    assert json.loads(output.out[output.out.index("{") :]) == {"caf\udce9": "\x1b\x9b\u202e"}


@pytest.mark.parametrize("name", ["$5_$", "$\\frac$", "<b>", "caf\udce9", "two\nlines"])
def test_names_are_drawn_as_text(tmp_path: Path, name: str) -> None:
    tile = np.zeros((8, 8, 3), "uint8")
    plot_confusion(np.eye(2, dtype=int), [name, "other"], tmp_path / "confusion.png")
    plot_labelled_photos([tile], [name], tmp_path / "labels.png")
    plot_photo_grid({name: [tile]}, tmp_path / "grid.png")
    figure = Figure()
    text = figure.suptitle("$5_$")
    save_figure(figure, tmp_path / "title.png")
    assert not text.get_parse_math() and len(list(tmp_path.glob("*.png"))) == 4


def test_names_in_reports_are_markup_of_nothing() -> None:
    chart = confusion_chart(np.ones((2, 2), int), ["<script>", "a\x1b\u202e"], 10)
    text = "".join(map(str, chart.values()))
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert "\x1b" not in text and "\u202e" not in text and "a\\x1b" in short("a\x1b")


def test_pictures_of_photos_with_long_or_odd_names_can_be_written() -> None:
    assert _written_name("n" * 251).encode() <= b"n" * MOST_BYTES + "…".encode()
    assert _written_name("caf\udce9\n") == "caf\\xe9\\x0a"


NAMES = (
    b"caf\xe9.jpg",
    b"a[1].jpg",
    b"b*.jpg",
    b"c\\d.jpg",
    b"new\nline.jpg",
    b"cr\r",
    b"#x.jpg",
    b'"q".jpg',
    b" lead.jpg",
)


@pytest.fixture
def odd_photos(tmp_path: Path) -> Path:
    """Two classes of photos by odd names, of which three of the first are broken."""
    for label in ("one", "two"):
        for index, name in enumerate(NAMES):
            write_photo(tmp_path / "odd" / label / f"{index}.jpg", (90, 90, 90))
            folder = os.fsencode(tmp_path / "odd" / label)
            os.rename(folder + f"/{index}.jpg".encode(), folder + b"/" + name)
    for name in (NAMES[0], NAMES[4], NAMES[5]):
        Path(os.fsdecode(os.fsencode(tmp_path / "odd" / "one") + b"/" + name)).write_bytes(b"")
    return tmp_path / "odd"


def test_photos_of_any_name_are_read_by_the_pipeline(odd_photos: Path) -> None:
    source = read_source(DataConfig(root=odd_photos))
    photos = [photo for found in source.splits.values() for photo in found if photo.label == 1]
    checked = check_photos(photos)
    assert not checked.broken and len(checked.photos) == len(NAMES)
    batches = evaluation_batches(PhotoReader(checked, View(16, 16)), checked.labels, 4)
    assert sum(float(weights.numpy().sum()) for _, _, weights in batches) == len(NAMES)


def test_a_quarantine_list_gives_odd_names_back(odd_photos: Path, tmp_path: Path) -> None:
    source = read_source(DataConfig(root=odd_photos))
    chosen = choose_quarantined(source, check_data(source))
    assert len(chosen.broken) == 3
    every = [photo for photos in source.splits.values() for photo in photos]
    file = tmp_path / "list.txt"
    write_quarantine(file, chosen, str(odd_photos))
    assert quarantined_photos(every, file, str(odd_photos)) == {*chosen.names}
    write_quarantine(file, replace(chosen, broken=tuple(photo.name for photo in every)), str(odd_photos))
    assert quarantined_photos(every, file, str(odd_photos)) == {photo.name for photo in every}


def test_a_config_takes_no_path_that_is_not_utf_8(tmp_path: Path) -> None:
    for key in ("root", "csv", "quarantine"):
        with pytest.raises(ValueError, match=r"must be a path in UTF-8; received .*caf\\xe9"):
            DataConfig(**{key: str(tmp_path / "caf\udce9")})
