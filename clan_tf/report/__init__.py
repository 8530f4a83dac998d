"""A run's report as one self-contained HTML page."""

from clan_tf.report.report import write_report

__all__ = ["write_report"]
