"""What `python -m build` makes is all that a user needs, outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from helpers import ROOT

PACKAGES = {"clan_tf": "clan_tf", "cli": "clan_tf/cli", "configs": "clan_tf/configs", "export": "clan_tf/export"}
"""Folders of the checkout, and where their files are in the wheel."""
TRAINING = (
    *("train", "demo", "--run-dir", "run", "--set", "data.image_size=32", "--set", "training.epochs=1"),
    *("--set", "data.generated_photos={train: 16, val: 4, test: 4}", "--set", "training.batch_size=8"),
    *("--set", "model.backbone=tiny", "--set", "model.weights=none"),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, because building writes into the folder that it builds."""
    folder = tmp_path_factory.mktemp("source")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is absent from the `packages` configuration" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    # Folders named in a `.pth` file aren't searched for further ones, such as that of this checkout's installation.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return python


def run_outside(folder: Path, *command: str | Path) -> str:
    """Runs a command in a folder that isn't the checkout, and gives its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_made_from_the_sdist_holds_the_packages_of_the_checkout(source: Path, built: Path) -> None:
    expected = {
        f"{place}/{path.relative_to(source / folder)}": path.read_bytes()
        for folder, place in PACKAGES.items()
        for path in (source / folder).rglob("*")
        if path.is_file()
    }
    assert {"clan_tf/py.typed", "clan_tf/configs/spaces/paper.yaml", "clan_tf/report/report.html.j2"} <= {*expected}
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_the_sdist_holds_documentation_and_no_tests(source: Path, built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "pyproject.toml"} <= found
    assert {str(path.relative_to(source)) for path in (source / "docs").rglob("*")} <= found
    assert not any(name.startswith("tests") for name in found)


def test_the_wheel_works_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    where = run_outside(
        tmp_path, python, "-c", "from importlib.util import find_spec as f; print(f('clan_tf.export').origin)"
    )
    assert Path(where.strip()).is_relative_to(python.parents[1])
    command = python.with_name("clan-tf")
    assert "Usage: clan-tf" in run_outside(tmp_path, command, "--help")
    run_outside(tmp_path, command, *TRAINING)
    assert json.loads((tmp_path / "run" / "status.json").read_text(encoding="utf-8"))["status"] == "finished"
    assert (tmp_path / "run" / "best.keras").is_file()
