"""The arguments of every verb that takes an experiment: CONFIG or a folder, a preset, and values of keys."""

import functools
import inspect
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clan_tf.cli.completion import complete_backbone, complete_given, complete_override, complete_preset
from clan_tf.cli.console import ConsoleProgress, quiet_tensorflow, require_utf8, usable_path
from clan_tf.errors import UserError
from clan_tf.text import command_line, escaped_json, path_word, printable

if TYPE_CHECKING:
    from clan_tf.config import Experiment

_KEY_VALUE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*=")
_SHORT = {
    "backbone": "model.backbone",
    "epochs": "training.epochs",
    "image_size": "data.image_size",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "init": "model.init",
}
"""Options that are short for keys."""
_CONFIGS = "Give a folder of photos, a YAML file, or the name of a shipped config"
DEMO = "demo"
"""The config of verbs that show what they do where no data is named."""


def _require_texts(values: Sequence[str] | None, param: typer.CallbackParam) -> Sequence[str] | None:
    if "" in (values or ()):
        raise UserError(f"CONFIG is empty. {_CONFIGS}.")
    for value in values or ():
        require_utf8(value, param)
    return values


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "given": (
        list[str] | None,
        typer.Argument(
            metavar="CONFIG|KEY=VALUE",
            callback=_require_texts,
            autocompletion=complete_given,
            help="A folder of photos, a YAML file, or the name of a shipped config; and values of keys, such as "
            "training.epochs=20.",
            show_default=False,
        ),
    ),
    "preset": (
        str | None,
        typer.Option(
            "--preset",
            metavar="P",
            autocompletion=complete_preset,
            help="Model and recipe: fast (the default for a folder), good or best.",
        ),
    ),
    "backbone": (
        str | None,
        typer.Option("--backbone", metavar="B", autocompletion=complete_backbone, help="Short for model.backbone=B."),
    ),
    "epochs": (str | None, typer.Option("--epochs", metavar="N", help="Short for training.epochs=N.")),
    "image_size": (
        str | None,
        typer.Option("--image-size", metavar="N", help="Short for data.image_size=N data.resize_size=null."),
    ),
    "batch_size": (str | None, typer.Option("--batch-size", metavar="N", help="Short for training.batch_size=N.")),
    "learning_rate": (
        str | None,
        typer.Option("--learning-rate", metavar="R", help="Short for training.learning_rate=R."),
    ),
    "init": (
        str | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            callback=usable_path,
            help="Start from a trained model with the same backbone: a run directory or .keras file, whatever its "
            "classes. Short for model.init=MODEL.",
        ),
    ),
    "overrides": (
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            autocompletion=complete_override,
            help="The same as the argument KEY=VALUE. Repeatable.",
        ),
    ),
}


@dataclass(frozen=True)
class ExperimentArguments:
    """What the command line says about an experiment.

    Attributes:
        config: a folder of photos, a YAML file, or the name of a shipped config; `None` if there is none.
        overrides: `section.key=value` texts, those of short options included.
        preset: the name of a preset.
        verb: the words of the verb that takes it, for messages.
        takes_more: whether that verb needs other arguments, too.
    """

    config: str | None
    overrides: tuple[str, ...]
    preset: str | None
    verb: str = "config show"
    takes_more: bool = False

    @classmethod
    def read(
        cls, options: Mapping[str, Any], verb: str = "config show", takes_more: bool = False
    ) -> "ExperimentArguments":
        """Sorts the values of `_OPTIONS`, given to a verb.

        Raises:
            UserError: for several configs, or options that contradict each other.
        """
        given = options["given"] or ()
        # `Path.exists` raises an `OSError` for long values, which can't be names of files.
        pairs = [word for word in given if _KEY_VALUE.match(word) and not os.path.exists(word)]
        configs = [word for word in given if word not in pairs]
        if len(configs) > 1:
            raise UserError(
                f"CONFIG: one folder or config is taken; received {', '.join(configs)}. Keys are given as KEY=VALUE."
            )
        overrides = (*pairs, *(options["overrides"] or ()))
        short = {option: value for option, value in options.items() if option in _SHORT and value is not None}
        if "init" in short:
            short["init"] = as_yaml(short["init"])  # a path needn't be YAML
        for option in short:
            _require_no_other(option, options[option], overrides)
        values = tuple(f"{_SHORT[option]}={value}" for option, value in short.items())
        if "image_size" in short:
            overrides = ("data.resize_size=null", *overrides)
        return cls(configs[0] if configs else None, (*overrides, *values), options["preset"], verb, takes_more)

    @property
    def words(self) -> list[str]:
        """The command-line words that give the same experiment."""
        preset = ["--preset", self.preset] if self.preset else []
        return [*([path_word(self.config)] if self.config else []), *preset, *self.overrides]

    def load(self, default: str | None = None) -> "Experiment":
        """Reads the experiment; for a folder, or data that keys name, makes one and prints it to standard error.

        Args:
            default: the config that is taken where none is given; `None` if one is required. The demo is taken only
                where no key names other data.

        Raises:
            UserError: naming every mistake.
        """
        from clan_tf.config import load_experiment, shipped_configs, shipped_presets
        from clan_tf.config.loading import preset_changes
        from clan_tf.config.shipped import require_config

        if self.names_data and default in (None, DEMO):
            return self._for_data()
        config = self.config or default
        if config is None:
            raise UserError(f"CONFIG: is missing. {_CONFIGS}, or name the data by keys, such as data.csv=FILE.")
        if Path(config).is_dir():
            self._require_no_run(config)
            return self._for_data(config)
        require_config(config, shipped_configs() | shipped_presets())
        experiment = load_experiment(config, self.overrides, self.preset, ConsoleProgress().note)
        if self.preset:
            changes = preset_changes(config, self.overrides, self.preset, experiment)
            changed = [f"{key} {_plain(before)} → {_plain(after)}" for key, (before, after) in changes.items()]
            ConsoleProgress().note(f"preset {self.preset} replaces: {', '.join(changed) or 'nothing'}")
        return experiment

    @property
    def names_data(self) -> bool:
        """Whether there is no config, but keys say what the data is: its folder, its table or its source."""
        from clan_tf.config.loading import data_named

        return self.config is None and data_named(self.overrides) is not None

    def _for_data(self, folder: str | None = None) -> "Experiment":
        """Makes the experiment of a folder or, without one, of the data that keys name."""
        quiet_tensorflow()
        from clan_tf.config.loading import data_named
        from clan_tf.data.starting import DEFAULT_PRESET, experiment_for_data, experiment_for_folder

        preset = self.preset or DEFAULT_PRESET
        if folder is None:
            named = data_named(self.overrides) or ""
            self._require_no_run(os.path.expanduser(named))
            experiment = experiment_for_data(self.overrides, preset)
        else:
            named, experiment = folder, experiment_for_folder(folder, self.overrides, preset)
        ConsoleProgress().note(f"config for {named}, by the preset {preset}:\n{_made(experiment)}")
        return experiment

    def _require_no_run(self, folder: str) -> None:
        from clan_tf.run import RunDirectory, is_run

        if not is_run(Path(folder)):
            return
        verb = () if self.takes_more else ("clan-tf", *self.verb.split())
        ways = f"Give its config: {command_line(*verb, RunDirectory(folder).config)}"
        if self.verb == "train":
            ways += f"; or resume it: {command_line('clan-tf', 'train', '--run-dir', folder, '--resume')}"
        raise UserError(f"{folder}: is a run directory, not a folder of photos. {ways}.")


def with_experiment(verb: Callable[..., None]) -> Callable[..., None]:
    """Gives a verb the arguments of an experiment, in the place of its parameter `experiment`."""
    own = inspect.signature(verb, eval_str=True).parameters
    words = verb.__name__.replace("_", " ")
    takes_more = any(each.default is each.empty for name, each in own.items() if name != "experiment")
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.items():
        if name == "experiment":
            parameters += [
                inspect.Parameter(option, parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])
                for option, (kind, info) in _OPTIONS.items()
            ]
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))

    @functools.wraps(verb)
    def command(**values: Any) -> None:
        options = {name: values.pop(name, None) for name in _OPTIONS}
        verb(experiment=ExperimentArguments.read(options, words, takes_more), **values)

    # Typer reads one or the other, depending on its version.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _require_no_other(option: str, value: str, overrides: Sequence[str]) -> None:
    """Raises a `UserError` if another argument gives the key of a short option another value."""
    for override in overrides:
        other = _value_given(override, _SHORT[option])
        if other is not None and not _same(other, value):
            raise UserError(
                f"--{option.replace('_', '-')} {value} and {override} contradict each other. Give one of them."
            )


def _value_given(override: str, key: str) -> object | None:
    """Returns the value that an override gives a key, itself or in a mapping for the key's section, or `None`."""
    from clan_tf.config import flatten
    from clan_tf.config.loading import values_of

    given = dict(flatten(values_of([override])))  # mistakes are reported where overrides are read
    return _plain(given[key], "null") if key in given else None


def _same(one: object, other: str) -> bool:
    try:
        return float(str(one)) == float(other)
    except ValueError:
        return str(one) == other


def _made(experiment: "Experiment") -> str:
    """Returns the keys of an experiment that aren't defaults, as the text of a YAML file."""
    from clan_tf.config.yaml_text import yaml_text

    return yaml_text(experiment.model_dump(mode="json", exclude_defaults=True)).rstrip()


def _plain(value: object, nothing: str = "nothing") -> str:
    return nothing if value is None else str(value)


def as_yaml(text: str) -> str:
    """Formats a text as the value of `--set`, which is read as YAML; printing leaves it unchanged."""
    import yaml

    try:
        is_plain = yaml.safe_load(text) == text and printable(text) == text
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else escaped_json(json.dumps(text, ensure_ascii=False))
