"""`clan-tf`: registers the verbs."""

from importlib import metadata
from typing import Annotated

import typer
from typer.core import TyperGroup

from clan_tf.cli.benchmark_data import benchmark_data
from clan_tf.cli.benchmark_exports import DefaultsToExports, benchmark_exports
from clan_tf.cli.console import run_safely
from clan_tf.cli.data_check import data_check
from clan_tf.cli.data_pack import data_pack
from clan_tf.cli.evaluate import evaluate
from clan_tf.cli.explain import explain
from clan_tf.cli.export import export
from clan_tf.cli.predict import predict
from clan_tf.cli.report import report
from clan_tf.cli.reproduce import reproduce
from clan_tf.cli.search import search
from clan_tf.cli.summary import summary
from clan_tf.cli.train import train


def _app(help_text: str, group: type[TyperGroup] = TyperGroup) -> typer.Typer:
    return typer.Typer(
        cls=group,
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


app = _app("Fine-grained photo classification with the Cross-layer Attention Network.")
for command in (train, evaluate, predict, explain, report, export, search, reproduce, summary):
    app.command()(command)

data_app = _app("Check photos and pack them.")
data_app.command("check")(data_check)
data_app.command("pack")(data_pack)
app.add_typer(data_app, name="data")

benchmark_app = _app(
    "Measure speed on this machine, beside a bound or a peer from the same run. `benchmark RUN` is short for "
    "`benchmark exports RUN`.",
    DefaultsToExports,
)
benchmark_app.command("data")(benchmark_data)
benchmark_app.command("exports")(benchmark_exports)
app.add_typer(benchmark_app, name="benchmark")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"clan-tf {metadata.version('clan-tf')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fine-grained photo classification with the Cross-layer Attention Network."""


def run() -> None:
    """Runs the `clan-tf` command; its entry point."""
    run_safely(app)


if __name__ == "__main__":
    run()
