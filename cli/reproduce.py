"""`clan-tf reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    JsonOption,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
    usable_path,
)
from clan_tf.cli.experiment import ExperimentArguments, with_experiment
from clan_tf.errors import UserError
from clan_tf.text import duration

if TYPE_CHECKING:
    from clan_tf.reproduce import Plan


@with_experiment
def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="table1 … table6, figure4 … figure6.")],
    experiment: ExperimentArguments,
    seeds: Annotated[str, typer.Option("--seeds", metavar="A,B,…", help="One run for each seed.")] = "0",
    output: Annotated[
        str,
        typer.Option(
            "--output",
            metavar="D",
            callback=usable_path,
            help="Where to write the table and its runs; finished runs are kept.",
        ),
    ] = "reproduced",
    rows: Annotated[
        str | None,
        typer.Option("--rows", metavar="A,B,…", help="Only these rows of a table, such as plain,clan,bcnn of table6."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would run and how long it would take; trains nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Reproduce a table or figure of the paper on your photos.

    It stands beside the published numbers. Run again to resume.
    """
    loaded = experiment.load("vgg16_3scale")
    numbers = _whole_numbers(seeds)
    chosen = None if rows is None else [row.strip() for row in rows.split(",")]
    quiet_tensorflow()
    from clan_tf import reproduce as room

    if plan:
        _print_plan(room.plan_reproduction(name, loaded, numbers, Path(output), ConsoleProgress(), chosen), as_json)
        return
    result = room.reproduce(name, loaded, numbers, Path(output), ConsoleProgress(), chosen)
    if as_json:
        print_json({"files": [str(file) for file in result.files], "rows": result.rows})
        return
    for file in result.files:
        if file.suffix == ".md":
            say(file.read_text(encoding="utf-8"))
    say("Written: " + ", ".join(map(str, result.files)))


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds: must be whole numbers such as 0,1,2; received {text!r}.") from None


def _print_plan(plan: "Plan", as_json: bool) -> None:
    total = sum(seconds for _, seconds in plan.jobs.values())
    if as_json:
        jobs = [{"run": name, "state": state, "seconds": seconds} for name, (state, seconds) in plan.jobs.items()]
        print_json({"jobs": jobs, "seconds": total, "estimated_from": plan.basis})
        return
    if plan.jobs:
        rows = [(name, state, _estimate(seconds)) for name, (state, seconds) in plan.jobs.items()]
        print_table("Training runs (plan)", ("run", "now", "estimated"), [*rows, ("all", "", _estimate(total))])
    say(f"Estimated from: {plan.basis}.")


def _estimate(seconds: float) -> str:
    return duration(seconds) if seconds else "–"
