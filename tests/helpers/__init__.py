"""What several test files share: photos, models, tables, and where the tests and their tools are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tests" / "tools"
TINY_DEMO = str(ROOT / "tests" / "helpers" / "tiny_demo.yaml")
"""A config of the demo's photos with a network that trains within seconds."""
