"""The exports in a run, and whether they are of its models as they are now."""

from dataclasses import dataclass
from pathlib import Path

from clan_tf.errors import UserError
from clan_tf.files import file_sha256, read_json
from clan_tf.run.directory import RunDirectory
from clan_tf.runtime.contract import EXPORT_FILE


@dataclass(frozen=True)
class _Made:
    """The content of `export.json`: what an export was made from."""

    model: str
    model_sha256: str | None = None
    """`None` in exports of earlier versions."""


def outdated_exports(run: RunDirectory) -> list[Path]:
    """Lists the folders of a run's exports whose model was changed since, as `clan-tf calibrate` does.

    An export of which that can't be said isn't listed: one of an older version, one that is damaged, and one whose
    model is gone.
    """
    files = sorted(run.export("*").parent.glob(f"*/{EXPORT_FILE}"))
    return [file.parent for file in files if _is_outdated(file, run)]


def _is_outdated(file: Path, run: RunDirectory) -> bool:
    try:
        made = read_json(file, _Made, "")
    except UserError:
        return False
    model = run.path / Path(made.model).name  # the run may have been moved
    return made.model_sha256 is not None and model.is_file() and made.model_sha256 != file_sha256(model)
