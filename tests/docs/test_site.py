"""The documentation is built without a network, and what it says of the code is true of the code."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import typer

import clan_tf
from clan_tf.cli.main import app
from clan_tf.config import Experiment
from helpers import ROOT
from helpers.chromium import EXECUTABLE, open_page

NOWHERE = "http://127.0.0.1:9"
EXTERNAL = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="?(?:https?:)?//')
OWN_FILE = re.compile(r"`((?:\w+/)+\w+\.py)`")
PLACES = (ROOT, ROOT / "clan_tf", ROOT / "tests")
INVENTED = ("NAME", "SOURCE", "stamps")
"""What stands for other names in paths of the recipes."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "NO_MKDOCS_2_WARNING": "1"}
    # With `--quiet` warnings aren't counted, and nothing is strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text_of(page: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def verbs(command: Any, name: str = "clan-tf") -> Iterator[tuple[str, Any]]:
    for word, inner in getattr(command, "commands", {}).items():
        yield f"{name} {word}", inner
        yield from verbs(inner, f"{name} {word}")


def test_every_config_key_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "config.html").read_text(encoding="utf-8")
    documented = set(re.findall(r'id="([\w.]+)"', page))
    # The splits of a mapping aren't keys of their own.
    keys = {
        key.partition("generated_photos")[0] + "generated_photos" * ("generated_photos" in key) for key in keys_of()
    }
    assert len(keys) > 60 and keys <= documented


def keys_of() -> list[str]:
    return [key for key in Experiment().flat() if "." in key]


def test_every_verb_and_option_is_in_the_reference(site: Path) -> None:
    sections = dict(
        re.findall(
            r"\n(clan-tf [\w ]+)¶\n(.*?)(?=\nclan-tf [\w ]+¶|\Z)",
            text_of(site / "reference" / "commands.html"),
            re.DOTALL,
        )
    )
    found = dict(verbs(typer.main.get_command(app)))
    assert len(found) > 10 and set(sections) == set(found)
    for name, command in found.items():
        for parameter in command.params:
            what = parameter.opts[0] if parameter.opts[0].startswith("--") else parameter.metavar
            assert what in sections[name], f"{name}: {what}"
        for example in command.epilog.splitlines():
            assert f"\n{example}\n" in sections[name], example


def test_public_names_are_in_the_api_with_their_arguments(site: Path) -> None:
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    headings = {anchor.rpartition(".")[2] for anchor in re.findall(r'<h3 id="([\w.]+)"', page)}
    assert set(clan_tf.__all__) <= headings
    assert "Args:" not in page and page.count('doc-section-title">Parameters:') > 10


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    assert [page.name for page in pages if EXTERNAL.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_its_window(site: Path, width: int) -> None:
    with open_page() as tab:
        for page in site.rglob("*.html"):
            tab.open(page, width, 900)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, page.name
        assert all(address.startswith("file:") for address in tab.requests)


def test_the_floors_of_the_architecture_are_those_that_are_checked() -> None:
    tree = ast.parse((ROOT / "tests" / "packaging" / "test_packaging.py").read_text(encoding="utf-8"))
    (floors,) = [
        ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "FLOORS"
    ]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = re.findall(r"<div><b>(\d+)</b> (.*)</div>", page)
    assert {room: int(floor) for floor, rooms in lines for room in re.findall(r"<code>(\w+)</code>", rooms)} == floors


@pytest.mark.parametrize("page", ["architecture.md", "paper.md", "security.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    named = OWN_FILE.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    real = [path for path in named if not any(word in path for word in INVENTED)]
    assert real and [path for path in real if not any((place / path).is_file() for place in PLACES)] == []


def test_figures_name_their_commit_or_say_that_it_was_not_recorded() -> None:
    _, *sections = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8").split("\n## ")
    texts = [" ".join(section.split()) for section in sections]
    source = re.compile(r"commits? [0-9a-f]{7}\b|recorded|at every commit")
    assert len(texts) > 8 and [text[:30] for text in texts if not source.search(text)] == []


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"(?:\]\(|src=\")([^)#\"]+)", readme)
    assert len(readme.splitlines()) <= 150
    assert len(links) > 20 and [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_shows_the_command_of_the_ci() -> None:
    command = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert command.startswith("./setup.sh test") and f"\n{command}\n" in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )
