"""What exported files say of themselves: sensible or refused, read from regular files only."""

import json
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clan_tf.errors import UserError
from clan_tf.inference import locate
from clan_tf.rejection import Rejection
from clan_tf.runtime import Contract, read_contract
from clan_tf.runtime.worker_process import receive, send

GOOD = Contract(("a", "b"), 48, 55, "stretch", 55, ("mid_1", "top"))


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(GOOD.to_json()), **values})


def test_a_contract_reads_back_as_it_was_written() -> None:
    assert Contract.from_json(GOOD.to_json()) == GOOD
    assert Contract.from_json(changed(input_size=None)).input_size is None
    weighted = replace(GOOD, branch_weights=(1.0, 0.1))
    assert Contract.from_json(weighted.to_json()) == weighted
    calibrated = replace(GOOD, temperatures=(1.0, 0.5, 2.0))
    assert Contract.from_json(calibrated.to_json()) == calibrated
    withholding = replace(GOOD, rejection=Rejection(0.05, (0.25, 0.5)))
    assert Contract.from_json(withholding.to_json()) == withholding
    # Older versions read files without them.
    assert not {"branch_weights", "temperatures", "rejection"} & set(json.loads(GOOD.to_json()))


def test_weights_of_some_branches_are_none_if_they_are_equal() -> None:
    weighted = replace(GOOD, branches=("a", "b", "c"), branch_weights=(1.0, 1.0, 0.1))
    assert weighted.weights_of(("c", "a")) == (0.1, 1.0)
    assert weighted.weights_of(("a", "b")) is None and GOOD.weights_of(GOOD.branches) is None


def test_a_branch_alone_has_its_own_temperature() -> None:
    calibrated = replace(GOOD, temperatures=(3.0, 0.5, 2.0))
    assert calibrated.temperatures_of(("top", "mid_1")) == ([0.5, 3.0], 2.0)
    assert calibrated.temperatures_of(("top",)) == ([0.5], 0.5)
    assert GOOD.temperatures_of(("top",)) == ([1.0], 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(image_size=10**9), "sizes must be from 1 to 16384"),
        (changed(image_size=48.0), "sizes must be"),
        (changed(rejection=0.5), "rejection must have the keys accept_error and thresholds; received 0.5"),
        (changed(rejection={"accept_error": 0.5, "thresholds": [2]}), "thresholds must be from 0"),
        (changed(image_size=True), "sizes must be"),
        (changed(input_size=0), "sizes must be"),
        (changed(resize_size=20), "the preprocessing is unknown"),
        (changed(resize_mode=["stretch"]), "the preprocessing is unknown"),
        (changed(class_names=[]), "class_names must be a list of 1 to 100,000 names"),
        (changed(class_names="ab"), "class_names must be a list"),
        (changed(class_names=["a", "a"]), "class_names names one twice"),
        (changed(class_names=["a", 1]), "class_names must hold texts"),
        (changed(class_names=["a", ""]), "class_names must hold texts"),
        (changed(class_names=["a", "b" * 5000]), "class_names must hold texts of 1 to 1,000 characters"),
        (changed(class_names=list(map(str, range(100_001)))), "class_names must be a list of 1 to 100,000"),
        (changed(branches=[["top"]]), "branches must hold texts"),
        (changed(branches=[f"mid_{index}" for index in range(1000)]), "branches must be a list of 1 to 32"),
        (changed(combination="sum"), "the combination of the branches is unknown"),
        (changed(per_branch="no"), "the combination of the branches is unknown"),
        (changed(branch_weights=[1.0]), "branch_weights must be a list of 2 numbers"),
        (changed(branch_weights=[1.0, "a"]), "branch_weights must be from 0 to"),
        (changed(branch_weights=[1.0, -1]), "branch_weights must be from 0 to"),
        (changed(branch_weights=[0, 0]), "branch_weights are all 0"),
        (changed(branch_weights=0.5), "branch_weights must be a list"),
        (changed(temperatures=[1.0, 1.0]), "temperatures must be a list of 3 numbers"),
        (changed(temperatures={"top": 1.0}), "temperatures must be a list of 3 numbers"),
        (changed(temperatures=[1.0, 1.0, 0]), "temperatures must be from 0.01 to 100; received 0"),
        (changed(temperatures=[1.0, True, 1.0]), "temperatures must be from 0.01"),
        (changed(more=1), "it must have the keys"),
        ("{}", "it must have the keys"),
        ("[]", "it doesn't hold a contract"),
        ("[" * 100_000, "nested too deeply"),
        (changed().replace("48", "9" * 5000), "a number has 5,000 characters"),
        (changed().replace("48", "1e999"), "too large"),
        (changed().replace("48", "NaN"), "NaN isn't a number"),
    ],
)
def test_a_contract_without_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Contract.from_json(text)
    assert len(str(caught.value)) < 500


def test_a_contract_that_grows_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clan_tf.json", " " * 2**25)
    with pytest.raises(UserError, match="it has more than 16,777,216 bytes"):
        read_contract(path)


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_what_may_never_end_is_no_exported_file(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    (tmp_path / f"zero.{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(UserError, match=rf"{name}\.{suffix}: can't be read: isn't a regular file"):
            read_contract(tmp_path / f"{name}.{suffix}")


@pytest.mark.parametrize("place", ["assets/clan_tf.json", "variables/variables.index", "assets/more"])
def test_a_saved_model_has_regular_files_only(tmp_path: Path, place: str) -> None:
    for folder in ("assets", "variables"):
        (tmp_path / folder).mkdir()
    (tmp_path / "assets" / "clan_tf.json").write_text(GOOD.to_json(), encoding="utf-8")
    (tmp_path / "saved_model.pb").touch()
    assert locate(tmp_path).file == tmp_path and locate(tmp_path).kind == "saved_model"
    assert read_contract(tmp_path) == GOOD
    (tmp_path / place).unlink(missing_ok=True)
    os.mkfifo(tmp_path / place)
    with pytest.raises(UserError, match=f"{place}: can't be read: isn't a regular file"):
        read_contract(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"file": ' + "9" * 5000 + "}", '{"file": "../x.tflite"}', '{"file": "/etc/hostname"}', "[1]"],
)
def test_the_json_of_an_export_names_a_file_beside_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "export.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="must name, as `file`, what was exported into this folder"):
        locate(tmp_path)


def test_the_folder_of_an_export_is_not_followed_for_ever(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('{"file": "again"}', encoding="utf-8")
    (tmp_path / "again").symlink_to(".")
    with pytest.raises(UserError, match="again: not a run directory"):
        locate(tmp_path)
    (tmp_path / "export.json").unlink()
    os.mkfifo(tmp_path / "export.json")
    started = time.monotonic()
    with pytest.raises(UserError, match="export.json: can't be read: isn't a regular file"):
        locate(tmp_path)
    assert time.monotonic() - started < 10


def test_an_answer_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "message").open("wb") as stream:
        send(stream, {}, {"probabilities": np.zeros((1, 1000), "float32")})
    with (tmp_path / "message").open("rb") as stream:
        assert receive(stream, 4000)[1]["probabilities"].shape == (1, 1000)
    with (tmp_path / "message").open("rb") as stream, pytest.raises(ValueError, match="it has 4,000 bytes"):
        receive(stream, 3999)
