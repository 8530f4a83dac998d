"""The page of photos that are probably mislabelled; needs the extra `labels`."""

from pathlib import Path
from typing import Any

from clan_tf.files import write_text
from clan_tf.labels import LabelReport, RankedPhoto
from clan_tf.progress import Progress
from clan_tf.report.examples import thumbnails
from clan_tf.report.page import style, templates

MOST = 200
"""How many photos are shown."""


def write_label_page(path: Path, report: LabelReport, progress: Progress | None = None) -> None:
    """Writes one HTML file with the worst photos, each beside a typical one of the class that is suggested.

    Args:
        path: the file.
        report: of `find_mislabelled`.
        progress: where progress is shown.
    """
    shown = report.photos[:MOST]
    suggested = list(dict.fromkeys(photo.suggested for photo in shown))
    photos = [*(photo.photo for photo in shown), *(report.typical[name] for name in suggested)]
    with (progress or Progress()).track("drawing photos", len(photos)) as advance:
        pictures = thumbnails(photos, advance)
    typical = dict(zip(suggested, pictures[len(shown) :], strict=True))
    page = (
        templates()
        .get_template("labels.html.j2")
        .render(
            style=style(),
            name=report.experiment.name,
            report=report,
            photos=[
                _entry(photo, picture, typical[photo.suggested])
                for photo, picture in zip(shown, pictures[: len(shown)], strict=True)
            ],
        )
    )
    write_text(path, page)


def _entry(photo: RankedPhoto, picture: str | None, typical: str | None) -> dict[str, Any]:
    return {
        "name": photo.name,
        "given": photo.given,
        "suggested": photo.suggested,
        "quality": photo.quality,
        "is_issue": photo.is_issue,
        "picture": picture,
        "typical": typical,
    }
