"""The photos of a source's splits, checked before work on them starts."""

from collections.abc import Sequence

from clan_tf.config import DataConfig
from clan_tf.data.photos import CheckedPhotos, check_photos
from clan_tf.data.source import Photo, Source, check_classes
from clan_tf.errors import UserError
from clan_tf.progress import Progress


def check_splits(source: Source, config: DataConfig, progress: Progress) -> dict[str, CheckedPhotos]:
    """The photos of every split, each decoded once.

    Raises:
        UserError: if there is no validation split, or for photos that can't be read, unless they are skipped.
    """
    source.photos("val")
    checked = {split: check_split(split, photos, config, progress) for split, photos in source.splits.items() if photos}
    if any(photos.skipped for photos in checked.values()):
        readable = {split: photos.photos for split, photos in checked.items()}
        check_classes(Source(source.class_names, readable), str(config.root))
    return checked


def check_split(split: str, photos: Sequence[Photo], config: DataConfig, progress: Progress) -> CheckedPhotos:
    """The photos of one split, each decoded once; says how many were skipped."""
    with progress.track(f"checking {split} photos", len(photos)) as advance:
        try:
            checked = check_photos(photos, advance, skip_broken=config.on_broken == "skip")
        except UserError as error:
            raise UserError(f"{split}: {error}") from None
    if checked.skipped:
        progress.note(f"skipped {len(checked.skipped)} of {len(photos)} {split} photos that can't be read:")
        for problem in checked.skipped[:5]:
            progress.note(f"  {problem}")
    return checked
