"""The option `--branches`, which several verbs have."""

from typing import Any

import typer

from clan_tf.errors import UserError


def branches_option(text: str) -> Any:
    """Makes the option; `branch_names` reads its value."""
    return typer.Option("--branches", "--branch", metavar="A,B", help=text)


def branch_names(text: str | None) -> tuple[str, ...] | None:
    """Returns the names between the commas, without blanks around them; `None` if the option isn't given.

    Raises:
        UserError: if a name is empty.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UserError(
            f"--branches: must be names of branches with commas between them, such as mid_1,top; received {text!r}. "
            "Omit it for those that the model combines."
        )
    return names
