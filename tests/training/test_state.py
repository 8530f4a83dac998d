"""States of training that are damaged are never used."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.errors import CheckFailed
from clan_tf.models.files import damage_in_model
from clan_tf.run.checkpoints import state_files
from clan_tf.training.state import TrainingState, read_state, write_state


def test_a_state_that_declares_a_huge_array_is_refused_without_taking_memory(tmp_path: Path) -> None:
    variable = tf.Variable([1.0, 2.0])
    write_state(tmp_path, TrainingState(step=1), [variable])
    write_state(tmp_path, TrainingState(step=2), [variable])
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)})
    with zipfile.ZipFile(state_files(tmp_path)[0], "r") as archive:
        state = archive.read("state.npy")
    with zipfile.ZipFile(state_files(tmp_path)[0], "w") as archive:
        archive.writestr("state.npy", state)
        archive.writestr("variable_0.npy", header.getvalue())
    notes: list[str] = []
    assert read_state(tmp_path, [variable], notes.append).step == 1
    assert "variable_0 is (1099511627776, 1024) float32 and not (2,) float32" in notes[0]


def test_an_archive_that_points_before_its_beginning_is_damaged(tmp_path: Path) -> None:
    """Reading it fails as a disk does, by an `OSError`."""
    write_state(tmp_path, TrainingState(step=1), [])
    (state,) = state_files(tmp_path)
    model = tmp_path / "a.keras"
    with zipfile.ZipFile(model, "w") as archive:
        for name in ("config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    for path in (state, model):
        content = bytearray(path.read_bytes())
        place = content.rindex(b"PK\5\6") + 16
        content[place : place + 4] = (int.from_bytes(content[place : place + 4], "little") + 1000).to_bytes(4, "little")
        path.write_bytes(content)
    assert damage_in_model(model)
    notes: list[str] = []
    with pytest.raises(CheckFailed, match="every checkpoint is damaged"):
        read_state(tmp_path, [], notes.append)
    assert "not a complete zip archive" in notes[0]


def test_a_damaged_state_is_never_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """Whatever byte is flipped: the state is read as it was written, or the one before."""
    variables = [tf.Variable(rng.normal(size=(5, 7)).astype("float32")), tf.Variable(3)]
    old, new = TrainingState(step=1), TrainingState(step=2, totals=[0.1], rows=[{"loss": 1 / 3}], seconds=2.5)
    write_state(tmp_path, old, variables)
    write_state(tmp_path, new, variables)
    whole = state_files(tmp_path)[0].read_bytes()
    written = [variable.numpy() for variable in variables]
    fallen_back = 0
    for position in rng.choice(len(whole), 200, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        state_files(tmp_path)[0].write_bytes(damaged)
        for variable in variables:
            variable.assign(tf.zeros_like(variable))
        state = read_state(tmp_path, variables)
        fallen_back += state.step == 1
        assert state in (old, new)
        for variable, value in zip(variables, written, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)
    assert fallen_back > 100
    for path in state_files(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(CheckFailed, match="every checkpoint is damaged"):
        read_state(tmp_path, variables)


def test_a_state_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="became NaN before step 4"):
        write_state(tmp_path, TrainingState(step=3), [tf.Variable(float("nan"))])
    assert not state_files(tmp_path)
