"""`clan-tf summary`."""

from clan_tf.cli.console import (
    JsonOption,
    large,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
)
from clan_tf.cli.experiment import DEMO, ExperimentArguments, with_experiment
from clan_tf.text import data_size


@with_experiment
def summary(
    experiment: ExperimentArguments,
    as_json: JsonOption = False,
) -> None:
    """Show the parameters, operations, shapes and memory of a model.

    Operations are multiply-accumulates. Needs no photos and no weights.
    """
    loaded = experiment.load(DEMO)
    quiet_tensorflow()
    from clan_tf.training.plan import summarize

    result = summarize(loaded)
    if as_json:
        print_json(result)
        return
    parts = [(part, f"{values['parameters']:,}", large(values["macs"])) for part, values in result["parts"].items()]
    parts.append(("total", f"{result['parameters']:,}", large(result["macs"])))
    size = loaded.data.image_size
    print_table(
        f"{loaded.name}: one photo of {size}x{size}, {result['classes']} classes",
        ("part", "parameters", "multiply-accumulates"),
        parts,
    )
    if result["relations"]:
        print_table(
            "Matrix products of positions or channels (not in the total above)",
            ("layer", "multiply-accumulates", "memory"),
            [(name, large(cost["macs"]), data_size(cost["bytes"])) for name, cost in result["relations"].items()],
        )
    shapes = [(name, " x ".join(map(str, shape))) for name, shape in result["shapes"].items()]
    print_table("Shapes", ("feature", "per photo"), shapes)
    if result["published"]:
        say(f"Published of this method: {result['published']}")
    say(f"Activations kept for training: {data_size(result['activation_bytes'])} per photo in float32 (estimate)")
