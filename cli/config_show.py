"""`clan-tf config show`."""

from clan_tf.cli.console import JsonOption, print_json, say
from clan_tf.cli.experiment import ExperimentArguments, with_experiment


@with_experiment
def config_show(experiment: ExperimentArguments, as_json: JsonOption = False) -> None:
    """Print a whole config as YAML, with every default. It is checked first, and can be used as a CONFIG."""
    loaded = experiment.load()
    if as_json:
        print_json(loaded.model_dump(mode="json"))
    else:
        say(loaded.to_yaml().rstrip("\n"))
