"""`clan-tf data pack`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clan_tf.cli.console import (
    ConsoleProgress,
    JsonOption,
    print_json,
    print_table,
    quiet_tensorflow,
    say,
    usable_path,
)
from clan_tf.cli.experiment import ExperimentArguments, as_yaml, with_experiment
from clan_tf.errors import counted
from clan_tf.text import command_line, data_size

if TYPE_CHECKING:
    from clan_tf.config import DataConfig
    from clan_tf.data.pack import Pack


@with_experiment
def data_pack(
    experiment: ExperimentArguments,
    output: Annotated[str, typer.Option("--output", metavar="D", callback=usable_path, help="The folder to make.")],
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Quality of the JPEGs.")] = 95,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Store PNGs: exactly the resized photos, in about five times the space.")
    ] = False,
    shard_size: Annotated[
        int, typer.Option("--shard-size-mb", metavar="N", min=1, help="Approximate size of a file in megabytes.")
    ] = 256,
    as_json: JsonOption = False,
) -> None:
    """Resize the photos once and write them as TFDS records. Training can then read these from any disk."""
    loaded = experiment.load()
    quiet_tensorflow()
    from clan_tf.data.pack import PackFormat, pack

    storage = PackFormat(None if lossless else quality, shard_size)
    packed = pack(loaded.data, Path(output).absolute(), storage, ConsoleProgress())
    next_command = command_line("clan-tf", "train", *experiment.words, *_keys(packed, loaded.data))
    if as_json:
        print_json(_values(packed) | {"next": next_command})
    else:
        _print(packed, next_command)


def _keys(packed: "Pack", data: "DataConfig") -> list[str]:
    """Returns the keys with which a config reads the pack; photos were selected and relabelled before packing."""
    keys = ["data.source=records", f"data.root={as_yaml(str(packed.folder))}"]
    if data.quarantine:
        keys.append("data.quarantine=null")
    if data.relabel:
        keys.append("data.relabel=null")
    if data.unknown_classes:
        keys.append("data.unknown_classes=[]")
    if data.fraction != 1:
        keys.append("data.fraction=1")
    # The pack has the splits that were cut by these.
    keys += [f"data.{key}=null" for key in ("group", "folds", "fold") if getattr(data, key) is not None]
    return keys


def _values(packed: "Pack") -> dict[str, Any]:
    return {
        "output": str(packed.folder),
        "splits": dict(packed.photos),
        "classes": len(packed.facts.class_names),
        "full_size": packed.facts.full_size,
        "resize_mode": packed.facts.resize_mode,
        "crop_to_box": packed.facts.crop_to_box,
        "shards": packed.shards,
        "bytes": packed.size,
        "notes": list(packed.notes),
    }


def _print(packed: "Pack", next_command: str) -> None:
    for note in packed.notes:
        say(note)
    print_table(
        f"Packed into {packed.folder}", ("split", "photos"), [(split, f"{n:,}") for split, n in packed.photos.items()]
    )
    size, classes = packed.facts.full_size, len(packed.facts.class_names)
    files = counted(packed.shards, "file")
    say(f"{classes} classes, photos of {size} pixels, {files}, {data_size(packed.size)}")
    say(f"Next:\n  {next_command}")
