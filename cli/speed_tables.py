"""The tables of `clan-tf benchmark train` and `clan-tf benchmark inference`."""

from typing import TYPE_CHECKING

from clan_tf.cli.console import large, percent, print_table, say
from clan_tf.text import data_size

if TYPE_CHECKING:
    from clan_tf.benchmark.result import SpeedBenchmark

KINDS = 8
"""How many kinds of operator are printed."""
OPERATORS = "clan-tf by kind of operator (TensorFlow's profiler; what runs at the same time counts each)"


def print_speed(result: "SpeedBenchmark") -> None:
    """Prints what was measured: contenders, the arithmetic floor, memory, kinds of operator, and notes."""
    photos = f"{result.batch_size} photo{'s' if result.batch_size > 1 else ''}"
    print_table(
        f"One {result.measured}: {photos} of {result.image_size} x {result.image_size} pixels, {result.classes} "
        f"classes, {result.precision}",
        ("", "ms", "fastest round", "slowest round", "photos/s", "clan-tf is … times as fast", "least", "most"),
        [
            (
                name,
                *(f"{1000 * value:.1f}" for value in vars(contender.seconds).values()),
                f"{contender.photos_per_second:.1f}",
                *(f"{value:.2f}" for value in vars(contender.own_speed).values()),
            )
            for name, contender in result.contenders.items()
        ],
    )
    if overhead := result.overhead:
        say(
            f"The network takes {overhead.seconds.median:.2f} times as long as its plain backbone "
            f"({overhead.seconds.lowest:.2f} to {overhead.seconds.highest:.2f}); it has "
            f"{overhead.operations:.2f} times the multiply-accumulates."
        )
    if result.operators:
        shown = result.operators[:KINDS]
        rest = result.operators[KINDS:]
        rows = [(each.kind, f"{each.milliseconds:.1f}", percent(each.share)) for each in shown]
        if rest:
            time, share = sum(each.milliseconds for each in rest), sum(each.share for each in rest)
            rows.append((f"{len(rest)} other kinds", f"{time:.1f}", percent(share)))
        print_table(OPERATORS, ("kind", "ms", "share"), rows)
    floor, memory = result.floor, result.memory
    say(
        f"Arithmetic floor: {large(floor.operations)} operations take {1000 * floor.seconds:.1f} ms at the "
        f"{floor.gflops.median:.0f} GFLOP/s of a large matrix product; {percent(floor.reached.median)} of it is "
        f"reached ({percent(floor.reached.lowest)} to {percent(floor.reached.highest)})."
    )
    say(f"Peak memory of clan-tf: {data_size(memory.peak)}, {data_size(memory.before)} before ({memory.how}).")
    for each in result.differences:
        say(
            f"{each.contender}: {each.of} within {each.largest:.0e} of clan-tf's, relative, in float32; up to "
            f"{each.limit:.0e} is rounding."
        )
    for note in result.notes:
        say(note)
