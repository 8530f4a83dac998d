"""What `python -m build` makes is all that a user needs, outside the checkout."""

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = (
    "clan_tf/py.typed",
    "clan_tf/configs/demo.yaml",
    "clan_tf/configs/spaces/paper.yaml",
    "clan_tf/report/report.css",
    "clan_tf/report/report.html.j2",
    "clan_tf/cli/main.py",
    "clan_tf/export/export.py",
)
TRAINING = (
    *("train", "demo", "--run-dir", "run", "--set", "data.image_size=32", "--set", "training.epochs=1"),
    *("--set", "data.generated_photos={train: 16, val: 4, test: 4}", "--set", "training.batch_size=8"),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"  # building writes into the folder that it builds
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel; what it depends on is that of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        check=True,
        capture_output=True,
    )
    packages = next(folder.glob("lib/python*/site-packages"))
    # Without the lines that make this checkout importable: paths of a `.pth` file aren't looked into for others.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return python


def test_wheel_and_sdist_have_all_that_is_needed(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert set(DATA) <= in_wheel
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    assert {"cli/main.py", "configs/demo.yaml", "clan_tf/report/report.css", "README.md", "LICENSE"} <= in_sdist
    code = {name for name in in_wheel if name.endswith(".py")}
    tracked = {
        (f"clan_tf/{path.relative_to(ROOT)}" if top != "clan_tf" else str(path.relative_to(ROOT)))
        for top in ("clan_tf", "cli", "configs", "export")
        for path in (ROOT / top).rglob("*.py")
    }
    assert code == tracked


def test_the_wheel_works_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [python, "-c", "import clan_tf; print(clan_tf.__file__)"], cwd=tmp_path, capture_output=True, text=True
    )
    assert Path(where.stdout.strip()).is_relative_to(python.parents[1])

    def clan_tf(*arguments: str) -> str:
        command = [python.with_name("clan-tf"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Usage: clan-tf" in clan_tf("--help")
    assert json.loads(clan_tf("summary", "demo", "--json"))["parameters"]
    clan_tf(*TRAINING)
    assert (tmp_path / "run" / "best.keras").is_file()
