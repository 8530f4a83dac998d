"""How the help of commands is laid out: summaries are whole, and examples stand below the options."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

_WITHOUT_LIMIT = 10_000
"""More characters than any summary has."""


class Verb(TyperCommand):
    """A command whose epilog holds examples, one a line."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples as a section of their own."""
        _write_examples(self.epilog, formatter)


class Verbs(TyperGroup):
    """A group of commands whose epilog holds examples, one a line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the first sentence on each command, wrapped and not cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [
            (name, command.get_short_help_str(_WITHOUT_LIMIT))
            for name, command in commands.items()
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples as a section of their own."""
        _write_examples(self.epilog, formatter)


def _write_examples(examples: str | None, formatter: Any) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in examples.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
