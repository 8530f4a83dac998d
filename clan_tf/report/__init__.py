"""A run as one self-contained HTML page."""

from clan_tf.report.writing import write_report

__all__ = ["write_report"]
