"""`clan-tf benchmark RUN`, which is short for `clan-tf benchmark exports RUN`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from clan_tf.cli.help import Verbs

if TYPE_CHECKING:
    from clan_tf.export.gate import GateReport


class DefaultsToExports(Verbs):
    """A command group whose default command is `exports`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Inserts `exports` if no command is named."""
        named = not args or args[0] == "--help" or args[0] in self.commands
        return super().parse_args(ctx, args if named else ["exports", *args])


def benchmark_exports(
    model: ModelArgument,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="N", help="Number of test photos to compare on; all by default.")
    ] = None,
    seconds: Annotated[
        float,
        typer.Option("--seconds", min=0.1, max=3600, help="How long to measure speed for each number of threads."),
    ] = 2.0,
    config: ConfigOption = None,
    overrides: SetOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="RUN", callback=usable_path, help="For an exported file: the run it was exported from."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a run to every format, and compare the files.

    Compares size, accuracy, agreement, speed and memory. No files are kept.
    """
    quiet_tensorflow()
    from clan_tf.export.benchmark import Measured
    from clan_tf.export.benchmark import benchmark_exports as compare

    found = compare(model, samples, seconds, config, overrides or (), run, ConsoleProgress())
    if as_json:
        print_json({kind: m.to_json() if isinstance(m, Measured) else {"error": str(m)} for kind, m in found.items()})
        return
    reports = {kind: measured.report for kind, measured in found.items() if isinstance(measured, Measured)}
    if reports:
        first = next(iter(reports.values()))
        threads = [f"ms, {speed.threads} thread{'s'[: speed.threads - 1]}" for speed in first.speeds]
        print_table(
            f"{first.photos} photos; the Keras model's accuracy is {percent(first.keras_accuracy)}",
            ("", "MB", "accuracy", "agreement", "difference", *threads, "memory MB"),
            [(kind, *_cells(report)) for kind, report in reports.items()],
        )
        say(
            "Agreement: the same most probable class. Difference: the largest of any probability. ms: median per photo."
        )
    for kind, measured in found.items():
        if isinstance(measured, Measured) and measured.keep_float:
            say(f"{kind}: kept in float32: {', '.join(measured.keep_float)}")
        for failure in measured.report.failures if isinstance(measured, Measured) else [measured]:
            say(f"{kind}: {failure}")


def _cells(report: "GateReport") -> tuple[str, ...]:
    return (
        f"{report.bytes / 1e6:.2f}",
        percent(report.accuracy),
        percent(report.agreement),
        f"{report.largest_difference:.1e}",
        *(f"{1000 * speed.median:.2f}" for speed in report.speeds),
        f"{max(speed.memory for speed in report.speeds) / 1e6:.0f}",
    )
