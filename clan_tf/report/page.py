"""What all pages share: templates whose text is escaped and printable, and the style."""

from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib.ticker import EngFormatter

from clan_tf.report.charts import short
from clan_tf.text import duration, printable


def templates() -> Environment:
    """Returns the templates of pages."""
    environment = Environment(
        loader=PackageLoader("clan_tf.report", "."),
        autoescape=select_autoescape(["j2"], default=True),
        undefined=StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "short": short,
        "count": "{:,}".format,
        "duration": duration,
        "si": EngFormatter(places=2),
    }
    return environment


def style() -> Markup:
    """Returns the style sheet of pages."""
    return Markup(resources.files("clan_tf.report").joinpath("report.css").read_text(encoding="utf-8"))


def _readable(value: Any) -> Any:
    """Makes text of the template printable: escapes control characters and what isn't valid UTF-8."""
    return printable(value, keep="\n") if type(value) is str else value


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"
