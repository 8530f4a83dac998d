"""Several photos in one request: a file that takes them must answer them as one by one."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from clan_tf.errors import UserError
from clan_tf.export.decisions import wrong_decisions
from clan_tf.runtime import ExportedModel
from clan_tf.runtime.exported import PROBABILITIES, SERVE_BYTES

LARGEST_PART = 512
"""Side, in pixels, of the part of a photo that a file gets which takes photos of any size."""


def failed_batches(model: ExportedModel, photo: np.ndarray, signatures: Sequence[str], most: float) -> list[str]:
    """Asks for three variants of a photo one by one and at once; returns a sentence for each difference.

    Args:
        model: the running file; it has ended if it can't answer.
        photo: an input of the file, uint8 RGB.
        signatures: the further signatures of a SavedModel.
        most: the maximum difference of a probability.
    """
    if model.contract.input_size is None:
        photo = photo[:LARGEST_PART, :LARGEST_PART]
    photos = np.stack([photo, photo[:, ::-1], photo[::-1]])
    failures: list[str] = []
    for name in (None, *signatures):
        given = _encoded(photos) if name == SERVE_BYTES else photos
        of = f"{len(photos)} photos at once" + (f" in {name!r}" if name else "")
        try:
            alone = [model(one[None], name) for one in given]
            at_once = model(given, name, together=True)
        except UserError as error:
            return [*failures, f"{of} can't be answered: {error}"]
        for output in (each for each in at_once if each.startswith(PROBABILITIES)):
            difference = np.abs(at_once[output] - np.concatenate([each[output] for each in alone])).max()
            if not difference <= most:
                failures.append(f"{output} of {of} differ by {difference:.2g} from one by one; {most:g} is allowed")
        if model.path.is_dir():
            failures += [f"{of}: {failure}" for failure in wrong_decisions(at_once, (), model.contract.rejection)]
    return failures


def _encoded(photos: np.ndarray) -> np.ndarray:
    """Encodes photos of one size as files of one length: uncompressed BMPs, uint8 `(photos, bytes)`."""
    contents = []
    for photo in photos:
        file = BytesIO()
        Image.fromarray(photo).save(file, "BMP")
        contents.append(np.frombuffer(file.getvalue(), "uint8"))
    return np.stack(contents)
