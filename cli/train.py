"""`clan-tf train`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    percent,
    print_table,
    quiet_tensorflow,
    say,
    usable_path,
)
from clan_tf.cli.experiment import DEMO, ExperimentArguments, with_experiment
from clan_tf.errors import CheckFailed, UserError, counted
from clan_tf.text import command_line

if TYPE_CHECKING:
    from clan_tf.config import Experiment
    from clan_tf.evaluation import Evaluation
    from clan_tf.folds import CrossValidation


@with_experiment
def train(
    experiment: ExperimentArguments,
    run_dir: Annotated[
        str | None,
        typer.Option(
            "--run-dir", metavar="D", callback=usable_path, help="The folder to make; by default runs/NAME-001 …."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --run-dir; with CONFIG, start it if none is there.")
    ] = False,
    with_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write a report at the end: a page with pictures.")
    ] = True,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            metavar="K",
            help="Cross-validate: divide the photos into K folds, and train a run for each, tested on it, in "
            "--run-dir. The data's own test photos aren't used.",
        ),
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble", help="With --folds: write the models of all folds as one, which averages their probabilities."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
) -> None:
    """Train a model and evaluate it on the test split. Without CONFIG or data, it is the demo on generated photos."""
    if ensemble and folds is None:
        raise UserError("--ensemble: is of the models of several folds. Give their number: --folds K.")
    own = _own_config(run_dir) if resume and run_dir and experiment.config is None and folds is None else None
    is_named = experiment.config is not None or experiment.names_data
    if resume and run_dir and folds is None and own is None and not is_named:
        raise UserError(_no_such_run(Path(run_dir)))
    if folds is not None:
        experiment = replace(experiment, overrides=(*experiment.overrides, f"data.folds={folds}", "data.fold=1"))
    loaded = experiment.load(own or DEMO)
    quiet_tensorflow()
    if ensemble and folds is not None:
        _require_room(folds)
    if dry_run:
        _print_plan(loaded, folds, run_dir, resume)
        if folds:
            say(f"This is the first of {folds} folds; the others are alike.")
        if ensemble:
            say("Beside them it would write ensemble.keras.")
    elif folds is not None:
        _cross_validate(loaded, folds, run_dir, resume, with_report, ensemble)
    else:
        _train(loaded, run_dir, resume, with_report)


def _own_config(run_dir: str) -> str | None:
    """Returns the config of the run to resume, if it exists."""
    quiet_tensorflow()
    from clan_tf.run import RunDirectory, is_run

    return str(RunDirectory(run_dir).config) if is_run(Path(run_dir)) else None


def _no_such_run(path: Path) -> str:
    from clan_tf.run import nearest_run

    return (
        f"--resume: there is no run {path}.{nearest_run(path)} To start one there, say what to train: a "
        "folder of photos, a YAML file, or the name of a shipped config."
    )


def _train(experiment: "Experiment", run_dir: str | None, resume: bool, with_report: bool) -> None:
    from clan_tf.cli.evaluate import print_accuracies
    from clan_tf.evaluation import evaluate
    from clan_tf.run.exports import outdated_exports
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
    _print_chance(evaluation, result.run.experiment(), outcome.epochs)
    if split == "val":
        say("There is no test split: these photos chose the epoch, so accuracy on new photos will be somewhat lower.")
    report = _write_report(str(run), progress) if with_report else None
    say(f"\nRun directory: {run}")
    say(f"  curves       {result.run.curves}")
    say(f"  evaluation   {result.run.evaluation(split).path}")
    if outdated := outdated_exports(result.run):
        say(f"Exports of a model before, to be made again by --force: {', '.join(map(str, outdated))}")
    say("Next:")
    predict, export, again = (command_line("clan-tf", verb, run) for verb in ("predict", "export", "evaluate"))
    say(f"  {predict} PHOTO…          labels for your photos")
    say(f"  {export} --format tflite  a file for phones")
    say(f"  {again} --json         the metrics for programs")
    say(f"  {command_line('tensorboard', '--logdir', result.run.tensorboard)}")
    if report:
        say(f"\nReport, to read first: {report.absolute()}")
        say("Open it in a browser: what the model confuses, where it looks, how sure it is.")


def _print_chance(evaluation: "Evaluation", experiment: "Experiment", epochs: int) -> None:
    """Says so if the run can't do more than guess, and what helps."""
    from clan_tf.models import BACKBONES

    if evaluation.beats_guessing:
        return
    name, share = evaluation.most_frequent
    model, data = experiment.model, experiment.data
    say(
        f"\nThese answers aren't clearly better than always {name!r}, the most frequent class, which is right for "
        f"{percent(share)} of the {counted(evaluation.photos, 'photo')}. What may help:"
    )
    if model.weights is None and model.init is None and BACKBONES[model.backbone].imagenet:
        say("  model.weights=imagenet         pretrained weights in place of random ones")
    say(f"  --epochs N                     more than the {counted(epochs, 'epoch')} of this run")
    if data.source != "generated":
        say("  clan-tf data check CONFIG      whether the photos and their labels are what you think they are")


def _cross_validate(
    experiment: "Experiment", folds: int, run_dir: str | None, resume: bool, with_report: bool, with_ensemble: bool
) -> None:
    from clan_tf.folds import cross_validate

    progress = ConsoleProgress()

    def report(run: Path) -> None:
        if with_report:
            _write_report(str(run), progress)

    result = cross_validate(experiment, folds, run_dir, progress, resume, report)
    rows = [
        (
            fold.run.name,
            *(f"{fold.photos.get(split, 0):,}" for split in ("train", "val", "test")),
            str(fold.best_epoch),
            f"{100 * fold.accuracy.value:.2f} %",
        )
        for fold in result.folds
    ]
    print_table(f"{folds} folds of {experiment.name}", ("run", "train", "val", "test", "best epoch", "top-1"), rows)
    pooled = result.pooled
    say(f"Mean {100 * result.mean:.2f} %, standard deviation over the folds {100 * result.deviation:.2f} %")
    say(
        f"All {counted(pooled.photos, 'photo')}, each by the model that wasn't trained on it: "
        f"{100 * pooled.value:.2f} % (95 % interval {100 * pooled.low:.2f} to {100 * pooled.high:.2f} %)"
    )
    if grouped := result.over_groups:
        ends = f"{100 * grouped.low:.2f} to {100 * grouped.high:.2f} %"
        say(f"Their groups (data.group) are fewer than the photos: by a bootstrap over groups the interval is {ends}")
    say(f"\nRuns, folds.csv and folds.json: {result.folder}")
    if with_ensemble:
        _write_ensemble(result)


def _require_room(folds: int) -> None:
    from clan_tf.folds import require_room

    require_room(folds)


def _write_ensemble(result: "CrossValidation") -> None:
    from clan_tf.folds import write_ensemble

    file = write_ensemble(result)
    say(f"Ensemble of the {len(result.folds)} models: {file}")
    say("The accuracies above aren't its own: all its members but one were trained on each of these photos.")
    say("Next:")
    predict, export, evaluate = (command_line("clan-tf", verb, file) for verb in ("predict", "export", "evaluate"))
    say(f"  {predict} PHOTO…                          labels for your photos")
    say(f"  {export} --format tflite --config CONFIG  a file for phones")
    say(f"  {evaluate} --config CONFIG                its accuracy on test photos of no fold")


def _write_report(run: str, progress: ConsoleProgress) -> Path | None:
    """Writes the report of a finished run; a run whose report fails is still a finished run."""
    from clan_tf.report import write_report

    try:
        return write_report(run, progress=progress)
    except (UserError, CheckFailed, OSError) as error:
        progress.note(f"no report: {error} Later: {command_line('clan-tf', 'report', Path(run))}")
        return None


def _print_plan(experiment: "Experiment", folds: int | None, run_dir: str | None, resume: bool) -> None:
    from clan_tf.folds import plan_folds
    from clan_tf.training.plan import plan_training

    plan = plan_folds(experiment, folds, run_dir, resume) if folds else plan_training(experiment, run_dir, resume)
    print_table(f"Training {experiment.name} (dry run)", ("", "planned"), list(plan.rows.items()))
    rates = [(str(epoch), f"{rate:.3g}") for epoch, rate in plan.schedule]
    shown = rates if len(rates) <= 9 else [*rates[:7], (f"… {len(rates) - 8} more", "…"), rates[-1]]
    if shown:
        print_table("Learning rate", ("from epoch", "learning rate"), shown)
    say("It would write:")
    for file in plan.files:
        say(f"  {file}")
