"""JSON and YAML of strangers become plain values of a sensible size, or one sentence."""

import time

import pytest

from clan_tf.config.yaml_text import parse_yaml
from clan_tf.files import parse_json

NAMES = "abcdefghijk"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip(NAMES, NAMES[1:], strict=False)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip(NAMES, NAMES[1:], strict=False)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "more than 100,000 values, with the aliases written out"),
        (MERGES, "more than 100,000 values, with the aliases written out"),
        ("#" * 2**21, "it has 2,097,152 characters; at most 1,048,576 are read"),
        ("&a [*a]", "an alias stands within what it stands for"),
        ("&a {x: *a}", "an alias stands within what it stands for"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 60 + "]" * 60, "nested more than 50 deep"),
        ("a: " + "9" * 5000, "a number has 5,000 characters; at most 100 are read"),
        ("a: 0x" + "f" * 50_000, "a number has 50,002 characters"),
        ("a: " + "1:" * 30_000 + "1", "a number has 60,001 characters"),
        ("a: 2024-13-45", "a value isn't the number, date or other kind that it is written as"),
        ("!!bool maybe", "a value isn't the number, date or other kind"),
        ("!!timestamp never", "a value isn't the number, date or other kind"),
        ("!!int ''", "a value isn't the number, date or other kind"),
        ("!!python/object/apply:os.system ['id']", "could not determine a constructor"),
        ("{[1]: 2}", "unhashable key"),
        ("a: *b", "undefined alias"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ('a: "\\0"', "NUL character"),
        ('"\\ud800": 1', "half of a surrogate pair"),
    ],
)
def test_yaml_without_sense_gets_a_reason(text: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=reason):
        parse_yaml(text)
    assert time.monotonic() - started < 30


def test_yaml_of_configs_is_read_as_before() -> None:
    assert parse_yaml("") is None
    assert parse_yaml("a: &x {b: [1, 2.5, null, true]}\nc: {<<: *x, d: ü}\n...\n") == {
        "a": {"b": [1, 2.5, None, True]},
        "c": {"b": [1, 2.5, None, True], "d": "ü"},
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested more than 50 deep"),
        ("9" * 5000, "a number has 5,000 characters"),
        ("1." + "9" * 5000, "a number has 5,002 characters"),
        ("1e999", "the number 1e999 is too large"),
        ("[NaN]", "NaN isn't a number of JSON"),
        ("-Infinity", "-Infinity isn't a number of JSON"),
        ('"\\ud800"', "half of a surrogate pair"),
        (b"\xff", "isn't text in UTF-8"),
        ("", "isn't JSON"),
    ],
)
def test_json_without_sense_gets_a_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_json_is_read_as_before() -> None:
    assert parse_json(b'{"a": [1, -2.5e3, null, true, "\\u00e9"]}') == {"a": [1, -2500.0, None, True, "é"]}
