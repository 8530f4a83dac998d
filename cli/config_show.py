"""`clan-tf config show`."""

from clan_tf.cli.console import ConfigArgument, JsonOption, SetOption, print_json, say


def config_show(config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Print a whole config as YAML, with every default. It is checked first, and can be used as a CONFIG."""
    from clan_tf.config import load_experiment

    experiment = load_experiment(config, overrides or ())
    if as_json:
        print_json(experiment.model_dump(mode="json"))
    else:
        say(experiment.to_yaml().rstrip("\n"))
