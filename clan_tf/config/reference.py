"""Every key of a config with its values, default and description, as the pydantic models have them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from clan_tf.config.experiment import Experiment
from clan_tf.errors import UserError, nearest, shown

Code = Callable[[Any], str]
"""Formats a value where it stands in a sentence."""
_WORDS = {"object": "mapping", "string": "text", None: "any value"}


@dataclass(frozen=True)
class ConfigKey:
    """A key of a section.

    Attributes:
        path: the whole key, such as `training.epochs`.
        schema: its JSON schema.
        description: what it means, on one line.
    """

    path: str
    schema: Mapping[str, Any]
    description: str

    @property
    def name(self) -> str:
        """The key within its section."""
        return self.path.rpartition(".")[2]

    @property
    def is_section(self) -> bool:
        """Whether it holds keys of its own."""
        return "$ref" in self.schema

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return not self.is_section and "default" not in self.schema

    @property
    def default(self) -> str:
        """The default as JSON, which YAML includes; empty if there is none."""
        return json.dumps(self.schema["default"], ensure_ascii=False) if "default" in self.schema else ""

    @property
    def choices(self) -> list[str]:
        """The values, as YAML has them, of a key that takes one of a few words."""
        return list(_choices(self.schema))

    def values(self, code: Code = str) -> str:
        """Says in words what the key may be."""
        return _values(self.schema, code)


def sections_of(section: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yields a section and those below it, with their names; below a mapping, `BRANCH` stands for each of its keys."""
    yield name, section
    for key, field in section.model_fields.items():
        path = f"{name}.{key}".lstrip(".")
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections_of(inner, path if inner is field.annotation else f"{path}.BRANCH")


def keys_of(section: type[BaseModel], name: str = "") -> list[ConfigKey]:
    """Returns the keys of a section, those that are sections included."""
    properties = section.model_json_schema()["properties"]
    return [
        ConfigKey(f"{name}.{key}".lstrip("."), schema, one_line(schema["description"]))
        for key, schema in properties.items()
    ]


def sections_with_keys(given: str | None = None) -> dict[str, tuple[str, list[ConfigKey]]]:
    """Returns the sections of an experiment that have keys with values: by name, what each is and these keys.

    Args:
        given: a section, whose own and nested keys are returned, or a key; everything by default.

    Raises:
        UserError: if there is no such section or key.
    """
    found: dict[str, tuple[str, list[ConfigKey]]] = {}
    paths: list[str] = []
    for name, section in sections_of(Experiment):
        keys = [key for key in keys_of(section, name) if not key.is_section]
        paths += [name, *(key.path for key in keys)]
        chosen = [key for key in keys if given is None or f"{key.path}.".startswith(f"{given}.")]
        if chosen:
            found[name] = one_line(section.__doc__), chosen
    if not found:
        sections = ", ".join(name for name, _ in sections_of(Experiment) if name)
        raise UserError(
            f"SECTION: must be a section or a key of a config; received {shown(given)}."
            f"{nearest(str(given)[:100], paths)} Sections are: {sections}."
        )
    return found


def one_line(text: str | None) -> str:
    """Joins the lines of a docstring."""
    return " ".join((text or "").split())


def _values(schema: Mapping[str, Any], code: Code) -> str:
    if "anyOf" in schema:
        return " or ".join(_values(option, code) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    kind = schema.get("type")
    if kind == "boolean":
        return f"{code('true')}, {code('false')}"
    if kind == "null":
        return code("null")
    if kind == "object" and "type" in schema["additionalProperties"]:
        return f"mapping to {_values(schema['additionalProperties'], code)}"
    if kind == "array":
        return f"list of {_values(schema['items'], code)}"
    if kind in ("integer", "number"):
        return f"{'whole number' if kind == 'integer' else 'number'} {_range(schema)}".rstrip()
    if kind == "string" and "pattern" in schema:
        return f"text matching {code(schema['pattern'])}"
    return "path" if schema.get("format") == "path" else _WORDS[kind]


def _range(schema: Mapping[str, Any]) -> str:
    """Writes the limits of a number."""
    limits = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return ", ".join(f"{sign}\N{NO-BREAK SPACE}{schema[limit]:,g}" for limit, sign in limits if limit in schema)


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    for option in schema.get("anyOf", ()):
        yield from _choices(option)
    if schema.get("type") == "boolean":
        yield from ("true", "false")
    yield from (json.dumps(value).strip('"') for value in schema.get("enum", ()))
