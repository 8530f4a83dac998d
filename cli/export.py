"""`clan-tf export`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from clan_tf.cli.branches import branch_names, branches_option
from clan_tf.cli.console import (
    ConfigOption,
    ConsoleProgress,
    JsonOption,
    SetOption,
    percent,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
    usable_path,
)
from clan_tf.errors import counted
from clan_tf.text import command_line, data_size

if TYPE_CHECKING:
    from clan_tf.export.gate import GateReport

COLUMNS = ("", "Keras", "exported")


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN", callback=usable_path, help="A run directory, a .keras file, or the folder of one's export."
        ),
    ],
    format: Annotated[str, typer.Option("--format", help="saved_model, tflite, onnx or keras.")],
    quantize: Annotated[
        str, typer.Option("--quantize", help="For tflite: none, float16, dynamic, int8 or int16x8.")
    ] = "none",
    output: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="D", callback=usable_path, help="The folder to make; by default RUN/exports/…."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="N", help="Number of test photos to compare on; all by default.")
    ] = None,
    branches: Annotated[
        str | None,
        branches_option("Combine these branches; the others are removed, and all answers are given."),
    ] = None,
    io: Annotated[
        str | None,
        typer.Option(
            "--io", help="Type of photos: float32 (default of tflite) or uint8 (default of saved_model and onnx)."
        ),
    ] = None,
    any_batch: Annotated[
        bool, typer.Option("--any-batch", help="For tflite: take any number of photos at once, instead of one.")
    ] = False,
    per_branch: Annotated[
        bool, typer.Option("--per-branch", help="For saved_model: output each branch's probabilities, too.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="For saved_model: add a signature with attention maps.")
    ] = False,
    calibration_photos: Annotated[
        int | None,
        typer.Option(
            "--calibration-photos", metavar="N", help="For dynamic, int8 and int16x8: train photos used; 200."
        ),
    ] = None,
    keep_float: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-float",
            metavar="NAME",
            help="For float16, dynamic and int8: a layer or network that stays in float32. Repeatable.",
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop", metavar="POINTS", help="For dynamic, int8 and int16x8: maximum drop in accuracy; 1."
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            "--min-agreement",
            metavar="PERCENT",
            help="For the same: minimum share of photos with the model's class; 99 for dynamic, 98 for int8.",
        ),
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing export.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a model, and check that the file gives its answers.

    Keeps the file if its outputs agree with the model's, and otherwise exits with 1.
    """
    chosen = branch_names(branches)
    quiet_tensorflow()
    from clan_tf.export import ExportOptions
    from clan_tf.export import export as export_model

    options = ExportOptions(
        format=format,
        quantize=quantize,
        branches=chosen,
        io=io,
        any_batch=any_batch,
        per_branch=per_branch,
        explain=explain,
        calibration_photos=calibration_photos,
        keep_float=tuple(keep_float or ()),
        max_drop=max_drop,
        min_agreement=min_agreement,
    )
    result = export_model(model, options, output, samples, config, overrides or (), force, ConsoleProgress())
    if as_json:
        print_json({"path": str(result.path), "options": asdict(result.options), "gate": result.report.to_json()})
        return
    print_table(f"{options.kind} on {counted(result.report.photos, 'photo')}", COLUMNS, _rows(result.report))
    if result.options.keep_float:
        say(f"Kept in float32: {', '.join(result.options.keep_float)}")
    say(f"Written: {result.path}")
    say(f"  {command_line('clan-tf', 'predict', result.path)} PHOTO…")


def _rows(report: "GateReport") -> list[tuple[str, str, str]]:
    rows = [
        ("accuracy", percent(report.keras_accuracy), percent(report.accuracy)),
        ("same most probable class", "", percent(report.agreement)),
        ("largest difference of a probability", "", f"{report.largest_difference:.1e}"),
        ("mean difference", "", f"{report.mean_difference:.1e}"),
        ("size", "", data_size(report.bytes)),
    ]
    if (withheld := report.withholding) is not None:
        own_error, error = ("" if x is None else percent(x) for x in (withheld.keras_error, withheld.error))
        rows[1:1] = [
            ("answers that aren't withheld", percent(withheld.keras_coverage), percent(withheld.coverage)),
            ("wrong among these", own_error, error),
        ]
    for speed in report.speeds:
        name = f"a photo with {speed.threads} thread{'s' if speed.threads > 1 else ''}, median (95 %)"
        rows.append((name, "", f"{1000 * speed.median:.2f} ms ({1000 * speed.p95:.2f})"))
    rows.append(("peak memory of the process", "", data_size(max(s.memory for s in report.speeds))))
    return rows
