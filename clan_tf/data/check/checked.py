"""The photos of a source's splits, checked before work on them starts."""

from collections.abc import Mapping, Sequence

from clan_tf.config import DataConfig
from clan_tf.data.checked_photos import CheckedPhotos, check_photos
from clan_tf.data.sources import Photo
from clan_tf.data.sources.source import photo_of
from clan_tf.errors import UserError, counted
from clan_tf.progress import Progress


def check_splits(
    splits: Mapping[str, Sequence[Photo]], config: DataConfig, progress: Progress
) -> dict[str, CheckedPhotos]:
    """Returns the photos of some splits, each decoded once; those without photos are left out.

    Raises:
        UserError: naming the photos that can't be read, and why, unless they are skipped (`data.on_broken`); or if
            a split has none that can be read, or train none of a class.
    """
    checked = {}
    for split, photos in splits.items():
        if photos:
            with progress.track(f"checking {split} photos", len(photos)) as advance:
                checked[split] = check_photos(photos, advance)
    broken = {split: photos.broken for split, photos in checked.items() if photos.broken}
    if broken and config.on_broken == "refuse":
        count = counted(sum(map(len, broken.values())), "photo")
        advice = "Replace or remove them, or leave them out: --set data.on_broken=skip."
        raise UserError("\n".join([f"{count} can't be read:", *_listed(broken), advice]))
    if broken:
        _require_rest(splits, checked)
        for split, problems in broken.items():
            of = counted(len(splits[split]), photo_of(split))
            progress.note(f"skipped {len(problems)} of {of} that can't be read")
        for line in _listed(broken, most=5):
            progress.note(line)
    return checked


def _require_rest(splits: Mapping[str, Sequence[Photo]], checked: Mapping[str, CheckedPhotos]) -> None:
    for split, photos in checked.items():
        lost = {photo.label for photo in splits[split]} - {photo.label for photo in photos.photos}
        if not photos.photos or (split == "train" and lost):
            what = f"of {len(lost)} classes" if photos.photos else "at all"
            raise UserError(f"data.on_broken: no {photo_of(split)}s {what} are left, because so many can't be read.")


def _listed(broken: Mapping[str, Sequence[str]], most: int = 20) -> list[str]:
    lines = [f"  {split}: {problem}" for split, problems in broken.items() for problem in problems]
    return lines[:most] + ([f"  … and {len(lines) - most} more"] if len(lines) > most else [])
