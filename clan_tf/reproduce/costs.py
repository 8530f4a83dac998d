"""What a trained network costs, beside its accuracy."""

from dataclasses import dataclass

from clan_tf.errors import CheckFailed
from clan_tf.export import tflite_bytes
from clan_tf.models import complexity, load_model
from clan_tf.models.memory import forgetting_graphs
from clan_tf.progress import Progress
from clan_tf.reproduce.runs import Job


@dataclass(frozen=True)
class Cost:
    """Cost of a network.

    Attributes:
        parameters: how many numbers training changes.
        macs: multiply-accumulates for one photo, matrix products of the network's own layers included.
        file_bytes: size of its `.tflite` file in float32; `None` if it can't be converted.
    """

    parameters: int
    macs: int
    file_bytes: int | None


def cost_of(job: Job, progress: Progress) -> Cost | None:
    """Measures the model of a finished run; `None` if there is no file of it."""
    if not job.run.best.exists():
        return None
    with forgetting_graphs():
        model = load_model(job.run.best)
        counted = complexity(model)
        try:
            size = len(tflite_bytes(model))
        except CheckFailed as error:
            progress.note(f"{job.run.path.name}: can't be converted to TFLite, so its size isn't in the table: {error}")
            size = None
        return Cost(sum(counted.parameters.values()), counted.all_macs, size)
