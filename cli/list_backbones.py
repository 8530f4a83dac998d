"""`clan-tf list backbones`."""

from typing import Any

from clan_tf.cli.console import JsonOption, large, print_json, print_table, say

_PREPROCESSING = {
    "caffe": "BGR, less ImageNet's mean",
    "torch": "by ImageNet's mean and deviation",
    "tf": "-1…1",
    "lite": "(x - 127) / 128",
    "none": "within the backbone",
}


def list_backbones(as_json: JsonOption = False) -> None:
    """List the backbones: parameters, ImageNet weights, tapped layers. They are the values of `model.backbone`."""
    from clan_tf.config.backbones import known_backbones

    backbones = known_backbones()
    if as_json:
        print_json([_as_json(name, facts) for name, facts in backbones.items()])
        return
    print_table(
        "Values of model.backbone",
        ("name", "parameters", "ImageNet", "taps of 2 scales", "taps of 3 scales", "pixels"),
        [
            (
                name,
                large(facts.parameters),
                facts.imagenet or "none",
                *(", ".join(facts.mid[scales]) for scales in (2, 3)),
                facts.preprocessing,
            )
            for name, facts in backbones.items()
        ],
    )
    say("Parameters: those that training changes, of the backbone alone.")
    say("ImageNet: where model.weights=imagenet comes from: Keras downloads it at its first use, or a package has it.")
    say("Taps: the layers that model.scales puts into model.mid, beside the top-level map.")
    say("Pixels: what the model makes of RGB in 0…255.")
    for name, text in _PREPROCESSING.items():
        say(f"  {name:5}  {text}")


def _as_json(name: str, facts: Any) -> dict[str, Any]:
    return {
        "name": name,
        "parameters": facts.parameters,
        "imagenet": facts.imagenet or None,
        "preprocessing": facts.preprocessing,
        "mid": {str(scales): list(layers) for scales, layers in facts.mid.items()},
    }
