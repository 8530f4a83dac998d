"""What is installed, and what may import what."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import clan_tf
from helpers import ROOT

DOTTED = re.compile(r"clan_tf(\.[a-z_]+)+")
FLOORS = {
    "choices": 0,
    "errors": 0,
    "in_parallel": 0,
    "layers": 0,
    "lazy": 0,
    "limits": 0,
    "progress": 0,
    "silence": 0,
    "text": 0,
    "environment": 1,
    "files": 1,
    "rejection": 1,
    "taxonomy": 1,
    "config": 2,
    "photos": 2,
    "plots": 2,
    "data": 3,
    "models": 3,
    "runtime": 3,
    "run": 4,
    "labels": 4,
    "inference": 5,
    "evaluation": 6,
    "explain": 6,
    "training": 6,
    "export": 7,
    "report": 7,
    "folds": 8,
    "reproduce": 8,
    "search": 7,
    "benchmark": 8,
    "cli": 9,
}


def test_every_folder_with_python_files_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    outside = {folder: name for name, folder in settings["package-dir"].items()}
    found = set()
    for top in ("clan_tf", "cli", "configs", "export"):
        for file in (ROOT / top).rglob("*.py"):
            parts = file.parent.relative_to(ROOT).parts
            found.add(".".join([outside.get(parts[0], parts[0]), *parts[1:]]))
    assert found == set(settings["packages"])


def test_rooms_import_only_from_floors_below() -> None:
    for top in ("clan_tf", "cli", "export"):
        for file in (ROOT / top).rglob("*.py"):
            room = _room(file)
            for imported in _imported_rooms(file.read_text(encoding="utf-8")):
                assert imported == room or FLOORS[imported] < FLOORS[room], f"{file} imports {imported}"


@pytest.mark.parametrize(
    "code",
    [
        "import clan_tf.cli.main",
        "import clan_tf.cli as commands",
        "from clan_tf.cli import main",
        "from clan_tf.cli.main import run",
        "from clan_tf import cli",
        "def late():\n    from clan_tf.cli.main import run",
        "import_module('clan_tf.cli.main')",
        "HOMES = {'run': 'clan_tf.cli'}",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from clan_tf.cli import main",
    ],
)
def test_every_kind_of_import_is_seen(code: str) -> None:
    assert _imported_rooms(code) == {"cli"}


@pytest.mark.parametrize("name", clan_tf.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(clan_tf, name) is not None
    assert name in dir(clan_tf)


def test_the_package_starts_without_heavy_imports() -> None:
    code = (
        "import sys, clan_tf, clan_tf.cli.main; "
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'pydantic', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="clan-tf")
    assert command.value == "clan_tf.cli.main:run"


def _room(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] != "clan_tf" else ("cli" if parts[1] == "__init__" else parts[1])


def _imported_rooms(code: str) -> set[str]:
    """The rooms that a file imports at any place and by any means, by strings such as those of `import_module` too."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            modules |= {node.value} if node.value.split(".")[1] in FLOORS else set()
    return {module.split(".")[1] for module in modules if module.startswith("clan_tf.")}


def test_what_needs_no_extra_is_imported_without_any() -> None:
    """`./setup.sh` installs none, and the demo ends with commands to run next."""
    extras = "ai_edge_quantizer cleanlab keras_tuner mediapipe onnx onnxruntime tensorflow_datasets tf2onnx"
    rooms = "benchmark cli.export evaluation explain export folds report reproduce training"
    code = f"""
import sys
sys.modules.update(dict.fromkeys({extras.split()!r}))
from importlib import import_module
for room in {rooms.split()!r}:
    import_module(f"clan_tf.{{room}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    for imported in ("ai-edge-litert", "flatbuffers"):
        assert any(re.match(rf"{imported}[>=]", each) for each in installed)


def test_a_missing_runtime_is_named() -> None:
    code = "import sys; sys.modules['ai_edge_litert'] = None; import clan_tf.export"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: clan-tf export needs LiteRT: pip install 'clan-tf[export]'" in done.stderr
