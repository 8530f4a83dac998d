"""`clan-tf`: registers the verbs."""

from collections.abc import Callable
from importlib import metadata
from typing import Annotated

import typer
from typer.core import TyperGroup

from clan_tf.cli.benchmark_data import benchmark_data
from clan_tf.cli.benchmark_exports import DefaultsToExports, benchmark_exports
from clan_tf.cli.benchmark_inference import benchmark_inference
from clan_tf.cli.benchmark_train import benchmark_train
from clan_tf.cli.calibrate import calibrate
from clan_tf.cli.completion import Root
from clan_tf.cli.config_keys import config_keys
from clan_tf.cli.config_show import config_show
from clan_tf.cli.console import run_safely
from clan_tf.cli.data_check import data_check
from clan_tf.cli.data_labels import data_labels
from clan_tf.cli.data_pack import data_pack
from clan_tf.cli.evaluate import evaluate
from clan_tf.cli.examples import examples_of
from clan_tf.cli.explain import explain
from clan_tf.cli.export import export
from clan_tf.cli.help import Verb, Verbs
from clan_tf.cli.list_backbones import list_backbones
from clan_tf.cli.list_configs import list_configs
from clan_tf.cli.list_presets import list_presets
from clan_tf.cli.list_sources import list_sources
from clan_tf.cli.predict import predict
from clan_tf.cli.report import report
from clan_tf.cli.reproduce import reproduce
from clan_tf.cli.search import search
from clan_tf.cli.summary import summary
from clan_tf.cli.train import train


def _app(words: str, help_text: str, group: type[TyperGroup] = Verbs) -> typer.Typer:
    """Makes a group of commands, called by `words`."""
    return typer.Typer(
        cls=group,
        help=help_text,
        epilog=examples_of(words),
        no_args_is_help=True,
        add_completion=group is Root,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def _register(group: typer.Typer, words: str, command: Callable[..., None]) -> None:
    """Adds a command, called by `words`, to its group."""
    group.command(words.rpartition(" ")[2], cls=Verb, epilog=examples_of(words))(command)


app = _app("", "Fine-grained photo classification with the Cross-layer Attention Network.", Root)
for verb in (train, evaluate, calibrate, predict, explain, report, export, search, reproduce, summary):
    _register(app, verb.__name__, verb)

data_app = _app("data", "Check photos and their labels, and pack them.")
_register(data_app, "data check", data_check)
_register(data_app, "data labels", data_labels)
_register(data_app, "data pack", data_pack)
app.add_typer(data_app, name="data")

benchmark_app = _app(
    "benchmark",
    "Measure speed on this machine. Each figure stands beside a bound or a peer from the same run. `benchmark RUN` is "
    "short for `benchmark exports RUN`.",
    DefaultsToExports,
)
_register(benchmark_app, "benchmark data", benchmark_data)
_register(benchmark_app, "benchmark train", benchmark_train)
_register(benchmark_app, "benchmark inference", benchmark_inference)
_register(benchmark_app, "benchmark exports", benchmark_exports)
app.add_typer(benchmark_app, name="benchmark")

list_app = _app("list", "List what there is to choose from.")
_register(list_app, "list backbones", list_backbones)
_register(list_app, "list configs", list_configs)
_register(list_app, "list presets", list_presets)
_register(list_app, "list sources", list_sources)
app.add_typer(list_app, name="list")

config_app = _app("config", "Show configs and the keys that they may have.")
_register(config_app, "config show", config_show)
_register(config_app, "config keys", config_keys)
app.add_typer(config_app, name="config")


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
