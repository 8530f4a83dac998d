"""`clan-tf train`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    OptionalConfigArgument,
    SetOption,
    print_table,
    quiet_tensorflow,
    require_utf8,
    say,
)
from clan_tf.errors import counted

if TYPE_CHECKING:
    from clan_tf.config import Experiment


def train(
    config: OptionalConfigArgument = None,
    overrides: SetOption = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            callback=require_utf8,
            help="Start from a trained model with the same backbone: a run directory or .keras file, whatever its "
            "classes. Short for --set model.init=MODEL.",
        ),
    ] = None,
    run_dir: Annotated[
        str | None,
        typer.Option(
            "--run-dir", metavar="D", callback=require_utf8, help="The folder to make; by default runs/NAME-001 …."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --run-dir; start it if there is none.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
) -> None:
    """Train a model and evaluate it on the test split; without CONFIG, the demo on generated photos."""
    from clan_tf.config import load_experiment

    if resume and run_dir and config is None:
        config = _own_config(run_dir)
    given = [*(overrides or ()), *([f"model.init={json.dumps(init, ensure_ascii=False)}"] if init else [])]
    experiment = load_experiment(config or "demo", given)
    quiet_tensorflow()
    if dry_run:
        _print_plan(experiment, run_dir)
    else:
        _train(experiment, run_dir, resume)


def _own_config(run_dir: str) -> str | None:
    """Returns the config of the run to resume, if it exists."""
    quiet_tensorflow()
    from clan_tf.run import RunDirectory, is_run

    return str(RunDirectory(run_dir).config) if is_run(Path(run_dir)) else None


def _train(experiment: "Experiment", run_dir: str | None, resume: bool) -> None:
    from clan_tf.cli.evaluate import print_accuracies
    from clan_tf.evaluation import evaluate
    from clan_tf.training import train as train_experiment

    progress = ConsoleProgress()
    result = train_experiment(experiment, run_dir, progress=progress, resume=resume)
    if not result.is_chief:
        return
    run = result.run.path
    outcome = result.outcome
    epochs = counted(outcome.epochs, "epoch")
    progress.note(f"trained {epochs} in {outcome.seconds:.0f} s; the best was epoch {outcome.best_epoch}")
    split = "test" if result.source.splits.get("test") else "val"
    evaluation = evaluate(str(run), split=split, progress=progress, source=result.source, data_section=result.data)
    print_accuracies(evaluation, split)
    if split == "val":
        say("There is no test split: these photos chose the epoch, so accuracy on new photos will be somewhat lower.")
    say(f"\nRun directory: {run}")
    say(f"  curves       {result.run.curves}")
    say(f"  evaluation   {result.run.evaluation(split).path}")
    say("Next:")
    say(f"  clan-tf predict {run} PHOTO…          labels for your photos")
    say(f"  clan-tf report {run}                  one page about the run, to read first")
    say(f"  clan-tf evaluate {run} --json         the metrics for programs")
    say(f"  tensorboard --logdir {result.run.tensorboard}")


def _print_plan(experiment: "Experiment", run_dir: str | None) -> None:
    from clan_tf.training.plan import plan_training

    plan = plan_training(experiment, run_dir)
    print_table(f"Training {experiment.name} (dry run)", ("", "planned"), list(plan.rows.items()))
    rates = [(str(epoch), f"{rate:.3g}") for epoch, rate in plan.schedule]
    shown = rates if len(rates) <= 9 else [*rates[:7], (f"… {len(rates) - 8} more", "…"), rates[-1]]
    if shown:
        print_table("Learning rate", ("from epoch", "learning rate"), shown)
    say("It would write:")
    for file in plan.files:
        say(f"  {file}")
