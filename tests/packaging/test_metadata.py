"""What else the repository says about itself, beside the code."""

import subprocess
import sys
import tomllib

import yaml

from helpers import ROOT

HOOKS = ROOT / ".pre-commit-config.yaml"


def test_the_citation_is_of_this_software() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {key: citation[key] for key in ("version", "license")} == {
        key: project[key] for key in ("version", "license")
    }
    assert citation["title"].startswith(project["name"])


def test_hooks_need_no_network() -> None:
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", str(HOOKS)], check=True)
    for repository in yaml.safe_load(HOOKS.read_text(encoding="utf-8"))["repos"]:
        assert repository["repo"] == "local"
        assert {hook["language"] for hook in repository["hooks"]} == {"system"}
