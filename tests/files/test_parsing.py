"""JSON and YAML of strangers become plain values of a sensible size, or one sentence."""

import time

import pytest
import yaml

from clan_tf.config.yaml_text import has_comment, parse_yaml, yaml_text
from clan_tf.files import parse_json
from clan_tf.text import printable

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
        ("a: 2024-13-45", "a value isn't the number, date or other kind that it is written as"),
        ("!!bool maybe", "a value isn't the number, date or other kind"),
        ("!!timestamp never", "a value isn't the number, date or other kind"),
        ("!!int ''", "a value isn't the number, date or other kind"),
        ("!!python/object/apply:os.system ['id']", "could not determine a constructor"),
        ("{[1]: 2}", "unhashable key"),
        ("a: *b", "undefined alias"),
        ("training: {seed: 1}\ndata: {}\ntraining: {seed: 2}", "the key 'training' stands twice .*, in lines 1 and 3"),
        ("a:\n  b: 1\n  'b': 2", "the key 'b' stands twice in one mapping, in lines 2 and 3"),
        ("[{2: x, 2: y}]", "the key '2' stands twice in one mapping, in line 1"),
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


def test_merge_keys_may_stand_beside_the_keys_that_they_bring() -> None:
    text = "a: &a {k: 1}\nb: &b {<<: *a, k: 2, l: 3}\nc: {<<: *b, k: 4}\nd: {k: 5}"
    assert parse_yaml(text) == {"a": {"k": 1}, "b": {"k": 2, "l": 3}, "c": {"k": 4, "l": 3}, "d": {"k": 5}}


@pytest.mark.parametrize("text", ["010", "007", "-010", "1:30", "1:30.5", "0b101", "0o7", "1e-4"])
def test_what_is_no_number_to_people_is_a_text(text: str) -> None:
    assert parse_yaml(text) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("-3", -3), ("+5", 5), ("1_000", 1000), ("0x1F", 31), ("0.10", 0.1), (".5", 0.5), ("1.0e-05", 1e-5)],
)
def test_usual_numbers_are_read(text: str, number: float) -> None:
    assert parse_yaml(text) == number and type(parse_yaml(text)) is type(number)


@pytest.mark.parametrize(
    "text",
    [
        "rtl\u200e",
        "\u202eabc",
        "tab\tbed",
        "a\x9bm",
        "two\nlines",
        "007",
        "é" * 200,
        "é\u200f " * 60,
        "no",
        "1:30",
        "a: #",
    ],
)
def test_written_yaml_is_unchanged_by_printing_and_read_back(text: str) -> None:
    values = {"key": text, text: [text, {"inner": text}]}
    written = yaml_text(values)
    assert printable(written, keep="\n") == written
    assert parse_yaml(written) == yaml.safe_load(written) == values


def test_a_comment_is_told_from_a_number_sign() -> None:
    assert all(map(has_comment, ("a #b", "'a' #b", "[a] # b", "#", "a: 1\n# b")))
    assert not any(map(has_comment, ("a#b", "'a #b'", '"a #b"', "[a, '#']", "")))


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
