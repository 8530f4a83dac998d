"""The table of ranked photos, whose column `label` a user edits for `data.relabel`."""

from pathlib import Path

from clan_tf.files import write_csv
from clan_tf.labels.report import LabelReport

COLUMNS = ("photo", "label", "given_label", "suggested_label", "quality", "is_issue")


def write_labels(path: Path, report: LabelReport) -> None:
    """Writes the photos, the most probably mislabelled first.

    `label` is empty, so that only what a user enters changes a label. Corrections of the table that the experiment
    uses already are in it too, so that the new table can take its place.
    """
    corrections = dict(report.corrections)
    rows = [
        [
            photo.name,
            corrections.pop(photo.name, ""),
            photo.given,
            photo.suggested,
            round(photo.quality, 4),
            "yes" if photo.is_issue else "no",
        ]
        for photo in report.photos
    ]
    rows += [[name, label, "", "", "", ""] for name, label in corrections.items()]
    write_csv(path, COLUMNS, rows)
