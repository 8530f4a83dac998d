"""Experiments from YAML files and `--set` overrides, with one message that names every mistake."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clan_tf.config.experiment import Experiment, flatten
from clan_tf.config.kinds import is_section_key, takes_list, takes_text
from clan_tf.config.methods import METHODS, drop_ignored
from clan_tf.config.mistakes import explain_all, mistakes_in
from clan_tf.config.shipped import read_yaml, shipped_files
from clan_tf.config.yaml_text import has_comment, parse_yaml
from clan_tf.errors import UserError, nearest, shown
from clan_tf.files.plain_json import require_plain

ARCHITECTURE = "model.architecture"
_BASES = tuple(f"model.{method}.base" for method in METHODS)
_OF_OPTIMIZER = tuple(f"training.{key}" for key in ("momentum", "weight_decay", "weight_decay_on", "layer_decay"))
_BOUND = ("data.resize_size", "model.mid", *_BASES, *_OF_OPTIMIZER)
"""Keys of a config that go with the size, the backbone and the optimizer that it had, which a preset replaces."""
OF_TRAINING = ("image_size", "resize_size", "resize_mode", "flip", "augmentation", "sampling", "repeats", "cache")
"""Keys of `data` that say how photos are shown in training; a trained model has its own sizes."""
KEY_DEPTH = 10
"""Limit on the dots in a key, above that of any valid key."""


def load_experiment(
    config: str | Path,
    overrides: Sequence[str] = (),
    preset: str | None = None,
    note: Callable[[str], None] | None = None,
) -> Experiment:
    """Reads an experiment.

    Args:
        config: path of a YAML file, or the name of a shipped one (see `shipped_configs` and `shipped_presets`).
        overrides: `section.key=value` texts, later ones winning; values are YAML, but those of keys that take a text
            stand as they are. A mapping for a section sets the keys that it holds.
        preset: name of a preset whose model and recipe replace the config's, key by key.
        note: called with the keys that are left out, if an override chooses an architecture that ignores them.

    Raises:
        UserError: naming every mistake in the file and the overrides.
    """
    values = _read_config(config)
    if preset:
        for key in _BOUND:
            _remove(values, key)
        for key, value in flatten(read_preset(preset)):
            _put(values, key, value)
    return experiment_from(values, overrides, config, note)


def preset_changes(
    config: str | Path, overrides: Sequence[str], preset: str, experiment: Experiment
) -> dict[str, tuple[Any, Any]]:
    """Returns the keys that a preset gave other values than the config and the overrides do: before and after.

    Without the preset these needn't be an experiment, so they are compared as they are written.

    Args:
        config: as in `load_experiment`.
        overrides: as in `load_experiment`.
        preset: name of the preset.
        experiment: what `load_experiment` made of these.
    """
    values = _read_config(config)
    for override in overrides:
        _set(values, override)
    before, after = Experiment().flat() | dict(flatten(values)), experiment.flat()
    keys = [key for key in after if key in {*_BOUND, *dict(flatten(read_preset(preset)))}]
    return {key: (before[key], after[key]) for key in keys if not _is_same(before[key], after[key])}


def _read_config(config: str | Path) -> dict[str, Any]:
    values = read_yaml(config, shipped_configs() | shipped_presets(), "config") or {}
    if not isinstance(values, dict):
        raise UserError(f"{config}: must hold keys such as `data:` and `model:`; received {shown(values)}.")
    return values


def _is_same(one: Any, other: Any) -> bool:
    """Compares a value as it is written with one that was read; numbers may be written as texts, such as 1e-4."""
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return bool(one == other)


def require_data_key(override: str) -> None:
    """Raises a `UserError` for an override that says nothing of a trained model's photos, nor names what is written."""
    section, _, key = override.partition("=")[0].strip().partition(".")
    if section not in ("data", "name") or key.partition(".")[0] in OF_TRAINING:
        raise UserError(
            f"--set: says where the photos are, by keys of data; received {shown(override)}, which has no effect on a "
            "trained model. Leave it out."
        )


def experiment_from(
    values: dict[str, Any],
    overrides: Sequence[str],
    named: str | Path,
    note: Callable[[str], None] | None = None,
) -> Experiment:
    """Makes an experiment of the values of a config.

    Args:
        values: what a YAML file holds; overrides are put into it.
        overrides: as in `load_experiment`.
        named: the file or folder, for messages.
        note: as in `load_experiment`.

    Raises:
        UserError: naming every mistake in the values and the overrides.
    """
    dropped = drop_keys_of_other_architecture(values, overrides)
    if note and dropped:
        note(f"left out, because the chosen model.architecture ignores them: model.{', model.'.join(dropped)}")
    mistakes = [mistake for override in overrides if (mistake := _set(values, override))]
    try:
        experiment = Experiment.model_validate(values)
    except ValidationError as error:
        mistakes += explain_all(error)
    if mistakes:
        raise mistakes_in(named, mistakes)
    return experiment


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """Returns an experiment with new values of some keys, given as `section.key`.

    Raises:
        UserError: naming every mistake, one per line.
    """
    changed = experiment.model_dump(mode="json")
    if ARCHITECTURE in values:
        drop_ignored(changed["model"], values[ARCHITECTURE])
    for path, value in values.items():
        _put(changed, path, value)
    try:
        return Experiment.model_validate(changed)
    except ValidationError as error:
        raise UserError("\n".join(explain_all(error))) from error


def drop_keys_of_other_architecture(values: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Removes the `model` keys of a config that an architecture chosen by an override ignores; returns their names.

    So `--set model.architecture=plain` works with every config, and a key that is overridden to no effect is an error.
    """
    chosen = dict(flatten(values_of(overrides))).get(ARCHITECTURE)
    model = values.get("model")
    return drop_ignored(model, chosen) if chosen is not None and isinstance(model, dict) else []


def values_of(overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the values that overrides give, by section; mistakes are left out."""
    values: dict[str, Any] = {}
    for override in overrides:
        _set(values, override)
    return values


def data_named(overrides: Sequence[str]) -> str | None:
    """Returns the folder, table or source of own data that overrides name; `None` if they name none."""
    given = dict(flatten(values_of(overrides)))
    source = given.get("data.source")
    if source == "generated":
        return None
    named = given.get("data.root") or given.get("data.csv") or source
    return None if named is None else str(named)


def shipped_configs() -> dict[str, Traversable]:
    """Finds the configs that are installed with the package, by name."""
    return shipped_files("clan_tf.configs")


def shipped_presets() -> dict[str, Traversable]:
    """Finds the presets that are installed with the package, by name."""
    return shipped_files("clan_tf.configs.presets")


def read_preset(name: str) -> dict[str, Any]:
    """Reads the values of a preset; raises a `UserError` with the valid names if there is none of that name."""
    presets = shipped_presets()
    if name not in presets:
        raise UserError(
            f"--preset: no preset {shown(name)}.{nearest(name, list(presets))} There are: {', '.join(presets)}."
        )
    return parse_yaml(presets[name].read_text(encoding="utf-8"))


def _set(values: dict[str, Any], override: str) -> str | None:
    """Applies a `KEY=VALUE` text, or reports what is wrong with it."""
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        return f"--set {shown(override)}: must be KEY=VALUE, for example training.epochs=20."
    if path.count(".") > KEY_DEPTH:
        return f"--set {shown(override)}: a key has at most {KEY_DEPTH} dots."
    try:
        _merge(values, path.strip(), value_given(path, text))
    except ValueError as error:
        return f"--set {shown(override)}: {error}"
    return None


def value_given(path: str, text: str) -> Any:
    """Returns the value that `KEY=VALUE` gives a key.

    It is YAML; but where the key takes a text it is taken as it stands, unless it is null, in quotes or a list.

    Raises:
        ValueError: saying that it isn't YAML, or holds a comment, before which it would end.
    """
    key = path.strip()
    if takes_text(key) and not _is_yaml(text.strip(), takes_list(key)):
        require_plain(text)
        return text.lstrip() if path.endswith(" ") else text  # as in `KEY = VALUE`
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"the value isn't YAML: {error}") from None
    if has_comment(text):
        raise ValueError("the value ends before its #, which begins a comment. Put it all in quotes, or leave that out")
    return value


def _is_yaml(text: str, is_list: bool) -> bool:
    """Checks whether what is given to a key that takes a text is YAML and not the text itself."""
    return text in ("", "~", "null", "Null", "NULL") or text.startswith(("'", '"', "[") if is_list else ("'", '"'))


def _merge(values: dict[str, Any], path: str, value: Any) -> None:
    """Sets a key or, if it is a section, those of its keys that `value` holds."""
    if isinstance(value, dict) and is_section_key(path):
        for key, each in value.items():
            _merge(values, f"{path}.{key}", each)
    else:
        _put(values, path, value)


def _remove(values: dict[str, Any], path: str) -> None:
    """Removes `section.key`, if there is such a value."""
    *sections, key = path.split(".")
    for section in sections:
        found = values.get(section)
        if not isinstance(found, dict):
            return
        values = found
    values.pop(key, None)


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    """Sets `section.key`, creating missing sections."""
    *sections, key = path.split(".")
    for section in sections:
        if not isinstance(values.get(section), dict):
            values[section] = {}
        values = values[section]
    values[key] = value
