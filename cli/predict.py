"""`clan-tf predict`."""

from typing import Annotated

import typer

from clan_tf.cli.console import ConsoleProgress, JsonOption, ModelArgument, print_json, print_table, quiet_tensorflow
from clan_tf.text import printable


def predict(
    model: ModelArgument,
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Photos, and folders of photos.")],
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels per photo.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Predict labels of photos and folders of photos. Exits with 1 if a photo couldn't be read."""
    from clan_tf.inference import locate
    from clan_tf.inference import predict as predict_photos

    if not locate(model).is_exported:
        quiet_tensorflow()

    results = predict_photos(model, paths, top, ConsoleProgress())
    if as_json:
        print_json(results)
    else:
        print_table("Predictions", ("photo", "label", "probability"), _rows(results))
    if any("error" in result for result in results):
        raise typer.Exit(1)


def _rows(results: list[dict]) -> list[tuple[str, str, str]]:
    rows = []
    for result in results:
        if "error" in result:
            rows.append((printable(result["path"]), f"error: {result['error']}", ""))
        for index, prediction in enumerate(result.get("predictions", ())):
            path = printable(result["path"]) if index == 0 else ""
            rows.append((path, printable(prediction["label"]), f"{100 * prediction['probability']:.1f} %"))
    return rows
