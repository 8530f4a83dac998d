"""Results as self-contained HTML pages: a run's report, and photos that are probably mislabelled."""

from clan_tf.report.report import write_report

__all__ = ["write_report"]
