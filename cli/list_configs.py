"""`clan-tf list configs`."""

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Any

from clan_tf.cli.console import JsonOption, print_json, print_table, say


def list_configs(as_json: JsonOption = False) -> None:
    """List the configs that are installed with clan-tf. Each is a CONFIG by its name; a YAML file is one, too."""
    from clan_tf.config import shipped_configs

    print_shipped("Shipped configs", shipped_configs(), as_json)
    if not as_json:
        say("All values of one: clan-tf config show NAME")


def print_shipped(title: str, files: Mapping[str, Traversable], as_json: bool) -> None:
    """Prints what shipped experiments are, and what they need."""
    rows = [_row(name, file) for name, file in files.items()]
    if as_json:
        print_json(rows)
        return
    print_table(
        title,
        ("name", "what it is", "photos", "backbone", "weights", "size", "epochs"),
        [tuple(str(value or "none") for value in row.values()) for row in rows],
    )
    say("Photos: data.source. Weights: model.weights, with which training starts. Size: data.image_size, in pixels.")


def _row(name: str, file: Traversable) -> dict[str, Any]:
    from clan_tf.config import Experiment
    from clan_tf.config.shipped import title_of
    from clan_tf.config.yaml_text import parse_yaml

    # Not by name: a file in the working folder would take precedence.
    experiment = Experiment.model_validate(parse_yaml(file.read_text(encoding="utf-8")))
    return {
        "name": name,
        "title": title_of(file),
        "source": experiment.data.source,
        "backbone": experiment.model.backbone,
        "weights": experiment.model.weights,
        "image_size": experiment.data.image_size,
        "epochs": experiment.training.epochs,
    }
