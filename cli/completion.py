"""Completion in the shell: the values that arguments take, and whether the shell is one that Typer knows."""

import textwrap
from collections.abc import Mapping
from typing import Any

from clan_tf.cli.help import Verbs
from clan_tf.errors import UserError

_OPTIONS = ("--install-completion", "--show-completion")
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_WIDTH = 70
"""Most characters of the text beside a value; shells show one line."""
Completions = list[tuple[str, str]]
"""Values, each with a line on what it is."""


class Root(Verbs):
    """The `clan-tf` command, which explains why completion can't be installed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Checks the shell before Typer, which would name it alone."""
        if args and args[0] in _OPTIONS and not ctx.resilient_parsing:
            _require_known_shell(args[0])
        return super().parse_args(ctx, args)


def complete_config(incomplete: str) -> Completions:
    """Completes CONFIG with the names of shipped configs; shells add files and folders if none begins so."""
    from clan_tf.config import shipped_configs
    from clan_tf.config.shipped import title_of

    return _beginning(incomplete, {name: title_of(file) for name, file in shipped_configs().items()})


def complete_given(incomplete: str) -> Completions:
    """Completes CONFIG or, from the first dot on, KEY=VALUE."""
    return [*complete_config(incomplete), *(complete_override(incomplete) if "." in incomplete else ())]


def complete_preset(incomplete: str) -> Completions:
    """Completes the name of a preset."""
    from clan_tf.config import shipped_presets
    from clan_tf.config.shipped import title_of

    return _beginning(incomplete, {name: title_of(file) for name, file in shipped_presets().items()})


def complete_backbone(incomplete: str) -> Completions:
    """Completes the name of a backbone."""
    return _beginning(incomplete, _named_values("model.backbone"))


def complete_section(incomplete: str) -> Completions:
    """Completes SECTION with the sections of an experiment, and after their dot with their keys."""
    from clan_tf.config import Experiment
    from clan_tf.config.reference import keys_of, one_line, sections_of

    sections = dict(sections_of(Experiment))
    found = {name: one_line(section.__doc__) for name, section in sections.items() if name}
    parent = incomplete.rpartition(".")[0]
    if parent in sections:
        found |= {key.path: key.description for key in keys_of(sections[parent], parent)}
    return _beginning(incomplete, found)


def complete_override(incomplete: str) -> Completions:
    """Completes KEY=VALUE: keys, and after the equals sign the values of a key that takes one of a few words.

    Bash takes the equals sign for the end of a word, and completes only keys.
    """
    from clan_tf.config.reference import sections_with_keys

    sections = sections_with_keys()
    keys = {key.path: key for name in sections if "BRANCH" not in name for key in sections[name][1]}
    path, equals, _ = incomplete.partition("=")
    if not equals:
        return _beginning(incomplete, {f"{name}=": key.description for name, key in keys.items()})
    choices = _named_values(path) or (dict.fromkeys(keys[path].choices, "") if path in keys else {})
    return _beginning(incomplete, {f"{path}={choice}": text for choice, text in choices.items()})


def complete_data_key(incomplete: str) -> Completions:
    """Completes KEY=VALUE with keys of the data alone."""
    return [(value, text) for value, text in complete_override(incomplete) if value.startswith("data.")]


def _named_values(key: str) -> dict[str, str]:
    """Returns the values of a key that takes the names of a table, with a line on each."""
    if key == "model.backbone":
        from clan_tf.config.backbones import known_backbones

        return {name: f"{facts.parameters / 1e6:.1f} M parameters" for name, facts in known_backbones().items()}
    if key == "data.source":
        from clan_tf.config import SOURCES

        return {name: facts.layout for name, facts in SOURCES.items()}
    return {}


def _beginning(incomplete: str, values: Mapping[str, str]) -> Completions:
    """Returns the values that begin as typed, with short texts that no shell takes for code."""
    return [
        (value, textwrap.shorten(text.replace("`", ""), _WIDTH, placeholder=" …"))
        for value, text in values.items()
        if value.startswith(incomplete)
    ]


def _require_known_shell(option: str) -> None:
    import shellingham

    try:
        shell = shellingham.detect_shell()[0]
    except shellingham.ShellDetectionFailure:
        shell = ""
    if shell not in _SHELLS:
        found = f"this is {shell}" if shell else "this one can't be recognised"
        raise UserError(
            f"{option}: must be run in {', '.join(_SHELLS[:-2])} or powershell; {found}. Run it from there."
        )
