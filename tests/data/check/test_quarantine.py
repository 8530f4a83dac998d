"""The list of photos to leave out."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.check import check_data
from clan_tf.data.check.quarantine import HEADER
from clan_tf.errors import UserError
from helpers.data_check import run


def test_training_without_the_quarantined_photos_is_clean(spoilt: Path, tmp_path: Path) -> None:
    listed = tmp_path / "lists" / "quarantine.txt"
    result = run(spoilt, "--quarantine", str(listed))
    assert result.exit_code == 1 and f"data.quarantine={listed}" in result.output
    lines = [line for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert sorted(lines) == [
        "test/long beak/broken.jpg",
        "train/long beak/1.jpg",
        "train/long beak/of_test.jpg",
        "train/long beak/of_val.jpg",
        "train/long beak/twice.jpg",
        "train/short beak/otherwise.jpg",
    ]
    source = read_source(DataConfig(root=spoilt, quarantine=listed))
    assert {split: len(photos) for split, photos in source.splits.items()} == {"train": 11, "val": 4, "test": 4}
    report = check_data(source)
    assert not report.failed and report.pairs == []
    again = run(spoilt, "--set", f"data.quarantine={listed}", "--quarantine", str(listed))
    assert again.exit_code == 1
    assert listed.read_text(encoding="utf-8").count("\n") == 10, "what was left out before is looked at again"


def test_a_quarantine_list_replaces_no_other_file(spoilt: Path, tmp_path: Path) -> None:
    precious = tmp_path / "config.yaml"
    precious.write_text("name: precious", encoding="utf-8")
    done = run(spoilt, "--quarantine", str(precious))
    assert isinstance(done.exception, UserError) and "isn't such a list" in str(done.exception)
    assert precious.read_text(encoding="utf-8") == "name: precious"


@pytest.mark.parametrize("name", ["a list.txt", "2024", "a: b", "#1", "null"])
def test_the_advised_quarantine_can_be_given_as_printed(
    spoilt: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(spoilt, "--quarantine", name)
    (command,) = [shlex.split(line)[1:] for line in result.output.splitlines() if line.startswith("  clan-tf train ")]
    planned = CliRunner().invoke(app, [*command, "--dry-run"])
    assert planned.exit_code == 0, planned.exception


def test_a_list_may_come_from_an_editor(root: Path, tmp_path: Path) -> None:
    """With a byte order mark, other line ends, spaces around names and `./` before them."""
    listed = tmp_path / "bad.txt"
    listed.write_bytes("\ufefftrain/long beak/0.jpg \r\n# two:\r\n\r\n ./train/long beak/1.jpg".encode())
    source = read_source(DataConfig(root=root, quarantine=listed))
    names = {Path(photo.name).name for photo in source.unused["quarantined"]["train"]}
    assert names == {"0.jpg", "1.jpg"} and len(source.splits["train"]) == 10
    first = "\ufeff" + HEADER
    listed.write_text(f"{first}\n", encoding="utf-8")
    assert run(root, "--quarantine", str(listed)).exit_code == 0, "it is still such a list"


def test_unknown_names_in_a_list_are_counted_and_may_be_removed(root: Path, tmp_path: Path) -> None:
    listed = tmp_path / "bad.txt"
    for names, words in ((["none.jpg"], "names 1 photo that"), (["none.jpg", "b"], "names 2 photos that")):
        listed.write_text("\n".join(names), encoding="utf-8")
        with pytest.raises(UserError, match=rf"{words} .*Remove such lines, or .*--quarantine FILE\."):
            read_source(DataConfig(root=root, quarantine=listed))
