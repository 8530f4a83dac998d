"""`clan-tf list presets`."""

from clan_tf.cli.console import JsonOption
from clan_tf.cli.list_configs import print_shipped


def list_presets(as_json: JsonOption = False) -> None:
    """List the presets: backbone, size and recipe for your photos."""
    from clan_tf.config import shipped_presets

    print_shipped("Presets", shipped_presets(), as_json)
