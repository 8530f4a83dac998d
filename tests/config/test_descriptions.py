"""Every key of a config describes itself: the documentation's reference is made from these descriptions."""

import inspect
import re
from collections.abc import Iterator
from typing import get_args

import pytest

from clan_tf.config import SOURCES, DataConfig
from clan_tf.config.section import Section
from clan_tf.models import BACKBONES
from clan_tf.search import space
from helpers import ROOT


def subclasses(section: type[Section]) -> Iterator[type[Section]]:
    for own in section.__subclasses__():
        yield from (own, *subclasses(own))


SECTIONS = {section.__name__: section for section in subclasses(Section) if section.__module__.startswith("clan_tf.")}
KEYS = [(name, key) for name, section in SECTIONS.items() for key in section.model_fields if name != "_Range"]


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_is_described_in_whole_sentences(section: str, key: str) -> None:
    description = SECTIONS[section].model_fields[key].description
    assert description and re.match("[A-Z0-9`]", description) and description.endswith(".")
    assert description.count("`") % 2 == 0


def test_sections_of_the_experiment_and_of_search_spaces_are_looked_at() -> None:
    assert {"Experiment", "AugmentationConfig", "LossWeightSchedule", "SearchConfig", "Choice", "Number"} <= {*SECTIONS}
    assert space.Taps is SECTIONS["Taps"]


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
def test_no_key_is_described_in_two_places(section: type[Section]) -> None:
    assert "Attributes:" not in (inspect.getdoc(section) or "")


def test_every_backbone_and_every_source_is_named() -> None:
    assert named("ModelConfig", "backbone") == set(BACKBONES)
    assert set(SOURCES) <= named("DataConfig", "source")


def test_what_sources_give_is_what_the_keys_say() -> None:
    with_boxes = {name.partition(":")[0] for name, facts in SOURCES.items() if facts.boxes}
    assert with_boxes == named("DataConfig", "crop_to_box")
    with_levels = {name: facts.levels for name, facts in SOURCES.items() if facts.levels}
    assert with_levels == {"aircraft": get_args(DataConfig.model_fields["level"].annotation)}
    assert {key for facts in SOURCES.values() for key in facts.keys} <= set(DataConfig.model_fields)
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("\n## Splits")[0]
    assert re.findall(r"^\| `([\w:]+)` \|", page, re.MULTILINE) == list(SOURCES)


def named(section: str, key: str) -> set[str]:
    """What a description puts in backticks."""
    return set(re.findall("`(.+?)`", SECTIONS[section].model_fields[key].description or ""))
