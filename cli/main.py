"""`clan-tf`: registers the verbs."""

import typer

from clan_tf.cli.console import run_safely
from clan_tf.cli.evaluate import evaluate
from clan_tf.cli.predict import predict
from clan_tf.cli.summary import summary
from clan_tf.cli.train import train

app = typer.Typer(
    help="Fine-grained photo classification with the Cross-layer Attention Network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (train, evaluate, predict, summary):
    app.command()(command)


@app.callback()
def main() -> None:
    """Fine-grained photo classification with the Cross-layer Attention Network."""


def run() -> None:
    """Entry point of the `clan-tf` command."""
    run_safely(app)


if __name__ == "__main__":
    run()
