"""`clan-tf list sources`."""

from dataclasses import asdict

from clan_tf.cli.console import JsonOption, print_json, say


def list_sources(as_json: JsonOption = False) -> None:
    """List the layouts of data that can be read. They are the values of `data.source`; shows what each gives."""
    from clan_tf.config import SOURCES

    if as_json:
        print_json([{"name": name} | asdict(facts) for name, facts in SOURCES.items()])
        return
    say("Values of data.source. data.root holds:")
    for name, facts in SOURCES.items():
        say(f"\n{name}: {facts.layout}")
        say(f"  splits: {facts.splits}")
        if facts.boxes:
            say("  boxes: those of the data, for data.crop_to_box")
        if facts.levels:
            say(f"  levels: {', '.join(facts.levels)}, by data.level")
        if facts.keys:
            say(f"  own keys: {', '.join(f'data.{key}' for key in facts.keys)}")
        if facts.extra:
            say(f"  needs: pip install 'clan-tf[{facts.extra}]'")
