"""Mistakes that pydantic finds, in words: the key, the rule, the value, and the nearest valid key."""

import math
from collections.abc import Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from clan_tf.config.experiment import NAME_PATTERN, Experiment
from clan_tf.config.section import is_section
from clan_tf.config.training import DEVICE_PATTERN
from clan_tf.errors import UserError, nearest, shortened, shown

MISTAKES = 50
"""Most mistakes that are listed."""
_IN_WORDS = {
    NAME_PATTERN: "must be made of letters without accents, digits, '.', '_' and '-'",
    DEVICE_PATTERN: "must be auto, cpu, gpu, or numbers of GPUs such as gpu:0 or gpu:0,1",
}
"""What a text must be that matches a pattern."""
_COMPARISONS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_LONG = 1e16
"""From this on, limits are written with an exponent."""


def mistakes_in(file: str | Path, mistakes: Sequence[str]) -> UserError:
    """Returns the error that names all mistakes of a file, one per line."""
    count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return UserError("\n".join([f"{file}: {count}", *(f"  {mistake}" for mistake in mistakes)]))


def explain_all(error: ValidationError) -> list[str]:
    """Returns one line per mistake, up to a limit."""
    found = error.errors()
    more = [f"and {len(found) - MISTAKES:,} more"] if len(found) > MISTAKES else []
    return [_explain(mistake) for mistake in found[:MISTAKES]] + more


def _explain(mistake: Any) -> str:
    location = [str(part) for part in mistake["loc"]]
    name = shortened(".".join(location)) or "experiment"
    value = mistake["input"]
    if mistake["type"] == "extra_forbidden":
        valid = _valid_keys(location[:-1])
        return f"{name}: no such key.{_nearest_key(location)} Valid here: {', '.join(valid)}."
    if mistake["type"] == "literal_error":
        valid = [part.strip("' ") for part in mistake["ctx"]["expected"].replace(" or ", ",").split(",")]
        return (
            f"{name}: must be {mistake['ctx']['expected']}; received {shown(value)}.{nearest(str(value)[:100], valid)}"
        )
    if mistake["type"] == "value_error":
        text = str(mistake["ctx"]["error"])
        return f"{name}: {text}" if text[-1] in ".?" else f"{name}: {text}."
    if mistake["type"] in ("model_type", "model_attributes_type"):
        return f"{name}: is a section of keys, no value; received {shown(value)}.{_key_that_takes(value, location)}"
    return f"{name}: {_rule(mistake)}; received {shown(value)}.{_quoting(mistake['type'], value)}"


def _rule(mistake: Any) -> str:
    """Says what a value must be, as pydantic does where that is plain."""
    context = mistake.get("ctx", {})
    # NaN breaks every limit, so that the one that is named would say nothing.
    if mistake["type"] == "finite_number" or (mistake["type"] in _COMPARISONS and not _is_finite(mistake["input"])):
        return "must be a finite number"
    if mistake["type"] == "string_pattern_mismatch":
        return _IN_WORDS[context["pattern"]]
    rule = mistake["msg"][0].lower() + mistake["msg"][1:]
    limit = context.get(_COMPARISONS.get(mistake["type"], ""))
    if isinstance(limit, float) and abs(limit) >= _LONG:
        return f"{rule.rpartition(' ')[0]} {limit:g}"
    return rule


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):  # a whole number may be too large for a float, but is one
        return True


def _quoting(kind: str, value: Any) -> str:
    """Advises to put a text in quotes that YAML takes for something else, such as 2024, no or 2024-05-01."""
    if kind not in ("string_type", "path_type") or not isinstance(value, int | float | date):
        return ""
    example = "'no', 'on', 'true'" if isinstance(value, bool) else f"'{value}'"
    return f" If a text is meant, put it in quotes: {example}."


def _nearest_key(location: Sequence[str]) -> str:
    """Suggests the key of the same name in another section, or the one with the most similar name."""
    *section, key = location
    by_name: dict[str, list[str]] = {}
    for path in _all_keys(Experiment):
        by_name.setdefault(path.rpartition(".")[2], []).append(path)
    if key not in by_name:
        here = get_close_matches(key, _valid_keys(section), n=1)
        if here:
            return f" Did you mean {'.'.join([*section, *here])}?"
        key = next(iter(get_close_matches(key, by_name, n=1)), key)
    return f" Did you mean {' or '.join(by_name[key])}?" if key in by_name else ""


def _all_keys(section: Any, prefix: str = "") -> Iterator[str]:
    """Yields the full path of every key, sections included."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if is_section(field.annotation):
            yield from _all_keys(field.annotation, f"{prefix}{name}.")


def _key_that_takes(value: Any, location: Sequence[str]) -> str:
    """Names the key of a section that has a value among its choices; otherwise all of the section's keys."""
    fields = _section_at(location).model_fields
    for key, field in fields.items():
        if value in get_args(field.annotation):
            return f" Did you mean {'.'.join([*location, key])}={value}?"
    return f" Its keys are {', '.join(fields)}."


def _valid_keys(location: Sequence[str]) -> list[str]:
    return list(_section_at(location).model_fields)


def _section_at(location: Sequence[str]) -> Any:
    section: Any = Experiment
    for part in location:
        # In a mapping, such as the branches of `loss_weight_schedules`, every key has the same keys.
        section = section.model_fields[part].annotation if is_section(section) else get_args(section)[1]
    return section
