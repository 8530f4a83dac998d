"""Every key of a config describes itself: the documentation's reference is made from these descriptions."""

from collections.abc import Iterator
from typing import Any

import pytest

from clan_tf.config import AugmentationConfig, Experiment, LossWeightSchedule, ScheduleConfig
from clan_tf.config.section import Section
from clan_tf.search.space import SearchConfig


def sections(section: type[Section]) -> Iterator[type[Section]]:
    yield section
    for field in section.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from sections(field.annotation)


def keys() -> list[Any]:
    found = [*sections(Experiment), LossWeightSchedule, SearchConfig]
    return [pytest.param(s, key, id=f"{s.__name__}.{key}") for s in found for key in s.model_fields]


@pytest.mark.parametrize(("section", "key"), keys())
def test_every_key_is_described_in_a_sentence(section: type[Section], key: str) -> None:
    description = section.model_fields[key].description
    assert description and description[0] in "`'" + description[0].upper() and description.endswith((".", ")"))


def test_all_sections_are_looked_at() -> None:
    assert {ScheduleConfig, AugmentationConfig} <= set(sections(Experiment))
