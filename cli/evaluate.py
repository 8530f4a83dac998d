"""`clan-tf evaluate`."""

from typing import TYPE_CHECKING, Annotated

import typer

from clan_tf.cli.branches import branch_names, branches_option
from clan_tf.cli.console import (
    ConfigOption,
    ConsoleProgress,
    JsonOption,
    ModelArgument,
    SetOption,
    percent,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
    usable_path,
)
from clan_tf.errors import counted

if TYPE_CHECKING:
    from clan_tf.evaluation import Evaluation


def evaluate(
    model: ModelArgument,
    split: Annotated[str, typer.Option("--split", help="train, val, test or all: every labelled photo.")] = "test",
    branches: Annotated[str | None, branches_option("Combine these branches instead of the usual ones.")] = None,
    config: ConfigOption = None,
    unknown: Annotated[
        str | None,
        typer.Option(
            "--unknown",
            metavar="FOLDER",
            callback=usable_path,
            help="Photos of none of the classes: how well are they told apart? By default data.unknown_classes.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", metavar="K", help="Also the top-K accuracy, besides top-1 and (of more than 5 classes) top-5."
        ),
    ] = None,
    normalize_confusion: Annotated[
        bool,
        typer.Option(
            "--normalize-confusion",
            help="Write the confusion matrix as shares of each true class's photos, not as counts.",
        ),
    ] = False,
    overrides: SetOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="D",
            callback=usable_path,
            help="Where to write; by default the run's evaluation/, if its best model is evaluated on its own data.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model's accuracy on a split of its photos, or on others.

    Prints accuracy per branch and combined, averages with intervals, the hardest classes, the most confused pairs, with
    a taxonomy accuracy by level and the severity of the mistakes, how well the probabilities are calibrated, the error
    if unsure answers are withheld and, with photos of other classes, how well they are told apart.
    """
    chosen = branch_names(branches)
    quiet_tensorflow()
    from clan_tf.evaluation import evaluate as evaluate_model

    result = evaluate_model(
        model,
        split,
        chosen,
        config,
        overrides or (),
        output,
        ConsoleProgress(),
        unknown=unknown,
        top=top,
        normalize_confusion=normalize_confusion,
    )
    if as_json:
        print_json(result.to_json())
        return
    print_accuracies(result, split)
    _print_averages(result)
    _print_classes(result)
    _print_levels(result)
    _print_calibration(result)
    _print_selective(result)
    _print_unknown(result)
    if result.folder:
        say(f"Tables, pictures and all predictions: {result.folder}")
    else:
        say("No files were written; --output D writes tables, pictures and all predictions.")


def print_accuracies(result: "Evaluation", split: str) -> None:
    """Prints the table of the branches' accuracies."""
    from clan_tf.data.sources.source import photo_of

    joined = " + ".join(result.combined_branches)
    named = {**result.branches, f"combined ({joined})": result.combined}
    rows = [(name, *map(percent, scores.values())) for name, scores in named.items()]
    headings = [name.replace("top", "top-") for name in result.combined]
    print_table(f"Accuracy on {counted(result.photos, photo_of(split))}", ("branch", *headings), rows)
    say(f"Expected calibration error of the combined prediction: {percent(result.calibration_error)}")


def _print_calibration(result: "Evaluation") -> None:
    from clan_tf.evaluation import calibration_rows, calibration_text

    raw = result.uncalibrated
    rows = calibration_rows(result.calibration, raw)
    headings = ["of the combined prediction", "value", "95 % interval"]
    print_table("Calibration", [*headings, "uncalibrated"] if raw else headings, rows)
    say(f"Its logits are divided by {result.temperature:g}." if raw else "Its logits aren't divided by a temperature.")
    say(calibration_text(result.calibration, raw))


def _print_selective(result: "Evaluation") -> None:
    from clan_tf.evaluation import rejection_text, risk_rows

    headings = ("photos answered", "lowest probability", "wrong answers", "95 % interval")
    print_table("If the least probable answers are withheld", headings, risk_rows(result.selective))
    say(rejection_text(result.selective))


def _print_unknown(result: "Evaluation") -> None:
    from clan_tf.evaluation import score_rows, unknown_text

    if result.unknown is None:
        return
    headings = ("score", "AUROC", "95 % interval", "FPR at 95 % TPR", "AUROC of wrong answers")
    print_table(f"Known from {counted(result.unknown.photos, 'unknown photo')}", headings, score_rows(result.unknown))
    say("FPR at 95 % TPR: the unknown photos that are accepted if at least 95 % of the known ones have to be.")
    say(unknown_text(result.unknown))


def _print_averages(result: "Evaluation") -> None:
    from clan_tf.evaluation import average_rows, interval_text

    rows = average_rows(result.averages)
    print_table("Averages", ("of the combined prediction", "value", "95 % interval"), rows)
    if result.groups:
        say(interval_text(result.groups))


def _print_levels(result: "Evaluation") -> None:
    from clan_tf.evaluation import accuracy_rows, mean_height_text, severity_rows

    if result.levels is None:
        return
    headings = ("level", "names", "accuracy", "95 % interval", "of the class mistakes, within it")
    print_table("Accuracy by level", headings, accuracy_rows(result.levels))
    if result.levels.severity:
        headings = ("finest level in common", "height", "photos", "share", "95 % interval")
        print_table("Severity of the mistakes", headings, severity_rows(result.levels))
    say(mean_height_text(result.levels))


def _print_classes(result: "Evaluation", most: int = 5) -> None:
    with_mistakes = [row for row in result.per_class if row["accuracy"] < 1]
    worst = sorted(with_mistakes, key=lambda row: row["accuracy"])[:most]
    if worst:
        print_table(
            "Hardest classes",
            ("class", "accuracy (recall)", "95 % interval", "precision", "F1", "photos"),
            [
                (
                    row["class"],
                    percent(row["accuracy"]),
                    f"{percent(row['low'])} to {percent(row['high'])}",
                    "" if row["precision"] is None else percent(row["precision"]),
                    percent(row["f1"]),
                    str(row["photos"]),
                )
                for row in worst
            ],
        )
    if right := len(result.per_class) - len(with_mistakes):
        say(f"All photos are right in {right:,} of the {len(result.per_class):,} classes.")
    pairs = result.confused_pairs[:most]
    if pairs:
        print_table(
            "Most confused",
            ("true class", "taken for", "photos"),
            [(p["true"], p["predicted"], str(p["photos"])) for p in pairs],
        )
