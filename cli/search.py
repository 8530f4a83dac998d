"""`clan-tf search`."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from clan_tf.errors import CheckFailed, counted
from clan_tf.text import command_line

if TYPE_CHECKING:
    from clan_tf.config import Experiment
    from clan_tf.search import SearchConfig, SearchOutcome


@with_experiment
def search(
    experiment: ExperimentArguments,
    space: Annotated[
        str,
        typer.Option(
            "--space", metavar="S", callback=usable_path, help="The search space: a YAML file, or paper or full."
        ),
    ] = "paper",
    algorithm: Annotated[
        Literal["random", "grid", "bayesian", "hyperband"] | None,
        typer.Option("--algorithm", help="KerasTuner's algorithm; by default the space's."),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", metavar="N", help="Maximum number of trials.")] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", metavar="H", help="No new trial starts after this many hours of trials.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option("--repeats", metavar="R", help="Train each trial with this many seeds.")
    ] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", metavar="M", help="A column of metrics.csv; val_combined_accuracy.")
    ] = None,
    search_dir: Annotated[
        str | None,
        typer.Option(
            "--search-dir",
            metavar="D",
            callback=usable_path,
            help="The search's folder; by default searches/NAME-SPACE.",
        ),
    ] = None,
    role: Annotated[
        Literal["chief", "worker"] | None,
        typer.Option("--role", help="Role of this process, if several search together."),
    ] = None,
    chief: Annotated[str | None, typer.Option("--chief", metavar="HOST:PORT", help="Address of the chief.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and measure one epoch; nothing is kept.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Search an experiment's hyperparameters with KerasTuner. The same command resumes a stopped search."""
    loaded = experiment.load()
    quiet_tensorflow()
    from clan_tf.search import load_search

    given = {
        "algorithm": algorithm,
        "trials": trials,
        "hours": hours,
        "repeats": repeats,
        "objective": objective,
    }
    searched = load_search(space, {key: value for key, value in given.items() if value is not None})
    if dry_run:
        _print_plan(loaded, searched, as_json)
        return
    folder = search_dir or f"searches/{loaded.name}-{os.path.basename(space).removesuffix('.yaml')}"
    role, chief = _own_role(role, chief)
    _search(loaded, searched, folder, role, chief, as_json)


def _own_role(role: str | None, chief: str | None) -> tuple[Any, str | None]:
    """Returns the role and the chief's address: as given, or from KerasTuner's environment variables."""
    host, port = os.environ.get("KERASTUNER_ORACLE_IP"), os.environ.get("KERASTUNER_ORACLE_PORT")
    if role is None and host:
        role = "chief" if "chief" in os.environ.get("KERASTUNER_TUNER_ID", "") else "worker"
    return role, chief or (f"{host}:{port}" if host and port else None)


def _search(
    experiment: "Experiment", searched: "SearchConfig", folder: str, role: Any, chief: str | None, as_json: bool
) -> None:
    from clan_tf.search import search as search_experiment

    outcome = search_experiment(experiment, searched, folder, role, chief, ConsoleProgress())
    if outcome is None:
        return
    if as_json:
        print_json(_as_json(outcome))
    else:
        _print_outcome(outcome)
    if outcome.stop_reason is not None:
        raise CheckFailed(
            f"{counted(outcome.search.max_failures, 'trial')} failed in a row, so the search stopped. The last one: "
            f"{outcome.stop_reason}"
        )
    if all(result.reason is not None for result in outcome.ranked):
        raise CheckFailed("No trial could be trained, so there is nothing to choose from.")


def _as_json(outcome: "SearchOutcome") -> dict[str, Any]:
    from dataclasses import asdict

    trials = [{**asdict(result), **_numbers(result)} for result in outcome.ranked]
    completed = [trial for trial in trials if trial["reason"] is None]
    return {
        "search_dir": str(outcome.directory.path),
        "objective": outcome.search.objective,
        "was_finished": outcome.was_over,
        "stopped_because": outcome.stop_reason,
        "best": completed[0] if completed else None,
        "best_config": str(outcome.directory.best_config) if completed else None,
        "trials": trials,
    }


def _numbers(result: Any) -> dict[str, Any]:
    if result.reason is not None:
        return {"mean": None, "spread": None}
    return {"mean": result.mean, "spread": result.spread}


def _print_outcome(outcome: "SearchOutcome") -> None:
    from clan_tf.search.report import leaderboard_columns, leaderboard_row

    directory, searched = outcome.directory, outcome.search
    rows = [leaderboard_row(rank, result, searched) for rank, result in enumerate(outcome.ranked, start=1)]
    shown = rows if len(rows) <= 20 else rows[:20]
    columns = [column.rpartition(".")[2] for column in leaderboard_columns(searched)]
    more = f" (the best 20; all in {directory.leaderboard})" if len(rows) > 20 else ""
    print_table(f"{counted(len(rows), 'trial')}, {searched.objective}{more}", columns, shown)
    for result in outcome.ranked:
        if result.reason is not None:
            say(f"trial {result.trial} failed: {result.reason}")
    say(f"Search directory: {directory.path}")
    say(f"  table        {directory.leaderboard_text}")
    if directory.best_config.exists():
        say(f"  picture      {directory.picture}")
        say("Next:")
        say(f"  {command_line('clan-tf', 'train', directory.best_config)}")
        say(f"  {command_line('tensorboard', '--logdir', directory.tensorboard)}")


def _print_plan(experiment: "Experiment", searched: "SearchConfig", as_json: bool) -> None:
    from dataclasses import asdict

    from clan_tf.search import plan_search
    from clan_tf.text import duration

    plan = plan_search(experiment, searched, ConsoleProgress())
    if as_json:
        print_json(asdict(plan))
        return
    print_table(
        f"Searching {experiment.name} (dry run)",
        ("key", "values", "used when"),
        [(key, values, condition) for key, (values, condition) in plan.space.items()],
    )
    trials = "as many as the time allows" if plan.trials is None else str(plan.trials)
    say(f"Trials: {trials}, each trained with {counted(searched.repeats, 'seed')}, by {searched.algorithm} search")
    say(f"One epoch took {plan.epoch_seconds:.1f} s here, with the experiment's own values.")
    if plan.seconds is not None:
        say(f"All epochs of all trials: about {duration(plan.seconds)} on one machine like this one")
