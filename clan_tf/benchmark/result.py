"""What `benchmark train` and `benchmark inference` report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clan_tf.benchmark.comparison import Difference
from clan_tf.benchmark.floor import Floor, operations_of
from clan_tf.benchmark.memory import PeakMemory
from clan_tf.benchmark.prepared import Prepared
from clan_tf.benchmark.profile import OperatorTime
from clan_tf.benchmark.rounds import Seconds, Spread, ratios

OWN, PLAIN, TORCH = "clan-tf", "plain backbone", "PyTorch"


@dataclass(frozen=True)
class Contender:
    """How fast one of the compared programs was.

    Attributes:
        seconds: of one call, which is a training step or the prediction of a batch; over the rounds.
        photos_per_second: by the median.
        own_speed: how many times as fast as it clan-tf was, over the rounds; 1 for clan-tf itself.
        rounds: seconds of a call in each round; contenders of one round can be compared.
    """

    seconds: Spread
    photos_per_second: float
    own_speed: Spread
    rounds: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        seconds = {
            "median": self.seconds.median,
            "fastest_round": self.seconds.lowest,
            "slowest_round": self.seconds.highest,
        }
        return {
            "seconds": seconds | {"rounds": list(self.rounds)},
            "photos_per_second": self.photos_per_second,
            "clan_tf_times_as_fast": self.own_speed.to_json(),
        }


@dataclass(frozen=True)
class Overhead:
    """What CLAN costs: its figures divided by those of its plain backbone with one head.

    Attributes:
        seconds: of one call, over the rounds.
        operations: multiply-accumulates.
    """

    seconds: Spread
    operations: float

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {"seconds": self.seconds.to_json(), "operations": self.operations}


@dataclass(frozen=True)
class SpeedBenchmark:
    """How fast a network is on this machine.

    Attributes:
        measured: "training step" or "prediction".
        batch_size: photos in a batch.
        image_size: side of the photos in pixels.
        classes: number of classes.
        precision: precision of the computation.
        contenders: by name; all took turns, round by round.
        overhead: what CLAN costs beside its plain backbone; `None` if the backbone is what is measured.
        memory: peak memory of clan-tf.
        floor: what clan-tf's arithmetic alone would take.
        operators: clan-tf's time by kind of operator, longest first.
        differences: what was compared before anything was measured.
        notes: what was left out, and how things were measured.
    """

    measured: str
    batch_size: int
    image_size: int
    classes: int
    precision: str
    contenders: Mapping[str, Contender]
    overhead: Overhead | None
    memory: PeakMemory
    floor: Floor
    operators: tuple[OperatorTime, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, as `--json` prints them."""
        return {
            "measured": self.measured,
            "batch_size": self.batch_size,
            "image_size": self.image_size,
            "classes": self.classes,
            "precision": self.precision,
            "contenders": {name: contender.to_json() for name, contender in self.contenders.items()},
            "cost_over_plain": self.overhead.to_json() if self.overhead else None,
            "peak_memory": self.memory.to_json(),
            "floor": self.floor.to_json(),
            "operators": [dict(vars(operator)) for operator in self.operators],
            "differences": [dict(vars(difference)) for difference in self.differences],
            "notes": list(self.notes),
        }


def contenders_of(seconds: Seconds, names: list[str], photos: int) -> dict[str, Contender]:
    """Summarizes the rounds of the named contenders, whose calls process `photos` photos each."""
    spreads = {name: Spread.of(seconds[name]) for name in names}
    return {
        name: Contender(spread, photos / spread.median, ratios(seconds, OWN, name), tuple(seconds[name]))
        for name, spread in spreads.items()
    }


def overhead_of(seconds: Seconds, prepared: Prepared, plain: Prepared | None) -> Overhead | None:
    """Divides clan-tf's figures by those of `PLAIN` in the same rounds, if it was one of the contenders."""
    if plain is None:
        return None
    own, other = (operations_of(each.model, 1, training=False) for each in (prepared, plain))
    return Overhead(ratios(seconds, PLAIN, OWN), own / other)
