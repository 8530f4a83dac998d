"""Tables of finished runs, as Markdown and CSV."""

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.data import Source
from clan_tf.errors import UserError, counted, shown
from clan_tf.evaluation import current_evaluation, read_predictions
from clan_tf.files import markdown_table, write_rows, write_text
from clan_tf.models import COMBINED
from clan_tf.progress import Progress
from clan_tf.reproduce.costs import Cost, cost_of
from clan_tf.reproduce.paper import DATA_SETS, Row, Table
from clan_tf.reproduce.runs import Job
from clan_tf.reproduce.significance import TEST_NAME, paired_p_value
from clan_tf.text import duration

COSTS = ("parameters (M)", "MACs (G)", "`.tflite` (MB)")


@dataclass(frozen=True)
class Result:
    """One row, measured.

    Attributes:
        row: the row of the paper's table.
        correct: which photos each seed's network got right, bool `(seeds, photos)`; no seeds if all failed.
        seeds: the seeds.
        seconds: mean time of a run.
        failures: why runs failed.
        printed: the paper's accuracy in percent, if network and data set are the paper's.
        difference: points above the baseline's mean, over the seeds that both have; `None` for the baseline.
        p_value: the p-value of that difference.
        cost: what the network costs, if the table shows it and there is a trained one.
    """

    row: Row
    correct: np.ndarray
    seeds: tuple[int, ...]
    seconds: float
    failures: tuple[str, ...]
    printed: float | None
    difference: float | None = None
    p_value: float | None = None
    cost: Cost | None = None

    @property
    def accuracies(self) -> list[float]:
        """Accuracies by seed, in percent."""
        return [100 * float(accuracy) for accuracy in self.correct.mean(axis=1)] if self.seeds else []

    @property
    def mean(self) -> float | None:
        """Mean accuracy over the seeds, in percent."""
        return float(np.mean(self.accuracies)) if self.seeds else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds, in percentage points; `None` for fewer than two."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.seeds) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Returns the columns of the CSV file as plain values."""
        return {
            "group": self.row.group,
            "method": self.row.method,
            "accuracy": _rounded(self.mean, 3),
            "standard_deviation": _rounded(self.deviation, 3),
            "seeds": " ".join(map(str, self.seeds)),
            "accuracies": " ".join(f"{accuracy:.3f}" for accuracy in self.accuracies),
            "paper": self.printed,
            "difference": _rounded(self.difference, 3),
            "p_value": self.p_value and float(f"{self.p_value:.3g}"),
            "seconds_per_training": round(self.seconds, 1),
            "failures": "; ".join(self.failures),
            "parameters": self.cost and self.cost.parameters,
            "macs": self.cost and self.cost.macs,
            "tflite_bytes": self.cost and self.cost.file_bytes,
        }


def measure(
    table: Table,
    jobs: Sequence[Job],
    failures: Mapping[str, str],
    split: str,
    source: Source,
    printed_for: tuple[str, str | None],
    progress: Progress,
) -> list[Result]:
    """Computes the rows of a table from the jobs that didn't fail.

    Args:
        printed_for: backbone and data set whose published numbers are comparable.
    """
    backbone, data_set = printed_for
    measured: list[Result] = []
    paired = _Pairing()
    for row in table.rows:
        own = [job for job in jobs if job.network == row.network]
        good = [job for job in own if job.run.path.name not in failures]
        correct = [paired.correct(job, *_answers(job, row, split, source, progress)) for job in good]
        measured.append(
            Result(
                row=row,
                correct=np.stack(correct) if correct else np.zeros((0, 0), bool),
                seeds=tuple(job.seed for job in good),
                seconds=float(np.mean([job.run.read_status()["seconds"] for job in good])) if good else 0.0,
                failures=tuple(failures[name] for job in own if (name := job.run.path.name) in failures),
                printed=row.printed.get(backbone, {}).get(data_set or ""),
                cost=cost_of(good[0], progress) if table.shows_costs and good else None,
            )
        )
    baselines = {result.row.group: result for result in measured if result.row.method == table.baseline}
    return [_compared(result, baselines.get(result.row.group)) for result in measured]


def write_table(results: Sequence[Result], heading: Sequence[str], notes: Sequence[str], path: Path) -> None:
    """Writes `PATH.md` and `PATH.csv`, group by group."""
    results = sorted(results, key=lambda result: result.row.group)
    rows = [result.to_json() for result in results]
    write_rows(path.with_suffix(".csv"), rows)
    columns = ("", "method", "accuracy", "paper", "difference", "p", "time of a run", *COSTS)
    cells = [
        (
            result.row.group,
            result.row.method,
            _accuracy_text(result),
            "" if result.printed is None else f"{result.printed:.1f} %",
            *_difference_text(result),
            duration(result.seconds) if result.seeds else "",
            *_cost_text(result.cost),
        )
        for result in results
    ]
    write_text(path.with_suffix(".md"), markdown(heading, columns, cells, notes))


def markdown(
    heading: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> str:
    """Returns a Markdown page with one table; empty columns are left out."""
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    lines = [f"# {heading[0]}", "", *heading[1:], ""]
    lines += markdown_table([columns[index] for index in kept], [[row[index] for index in kept] for row in rows])
    lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def describe_orders(results: Sequence[Result], backbone: str, data_set: str | None) -> list[str]:
    """Returns a line for each group: the order of its methods here and in the paper, and whether they agree."""
    backbone = backbone if any(backbone in result.row.printed for result in results) else "vgg16"
    name = data_set or "cub"
    lines = []
    for group in dict.fromkeys(result.row.group for result in results):
        own = [r for r in results if r.row.group == group and r.seeds and name in r.row.printed.get(backbone, {})]
        if len(own) < 2:
            continue
        here = _order({r.row.method: r.mean for r in own if r.mean is not None})
        printed = _order({r.row.method: r.row.printed[backbone][name] for r in own})
        lines.append(
            f"{group + ': the' if group else 'The'} order here {'is' if here == printed else 'is not'} the paper's. "
            f"Here: {here}. Paper ({DATA_SETS[name]}, {backbone}): {printed}."
        )
    return lines


def significance_note(table: Table) -> str:
    """Explains how `difference` and `p` are computed."""
    return (
        f"difference: percentage points above {table.baseline}. p: {TEST_NAME}. It tests whether the difference "
        "would hold on other photos with these trained networks; the standard deviation shows the effect of the seed."
    )


class _Pairing:
    """Requires that all networks of a table were tested on the same photos, so that their answers can be paired."""

    def __init__(self) -> None:
        self._first: tuple[Job, list[tuple[str, str]]] | None = None

    def correct(self, job: Job, rows: Sequence[Mapping[str, str]], column: str) -> np.ndarray:
        """Returns which photos one network got right, bool `(photos,)`, in the order of their names.

        Args:
            job: its run.
            rows: its predictions.
            column: whose answers count.

        Raises:
            UserError: if photos or their classes aren't those of the table's first run.
        """
        rows = sorted(rows, key=lambda row: (row["photo"], row["true"]))
        photos = _photos(rows)
        self._first = self._first or (job, photos)
        first, expected = self._first
        if photos != expected:
            others = (Counter(photos) - Counter(expected)) + (Counter(expected) - Counter(photos))
            raise UserError(
                f"{job.run.path}: was tested on other photos than {first.run.path}, or by other labels: "
                f"{counted(len({name for name, _ in others}), 'photo')} differ, such as {shown(min(others)[0])}, and "
                "networks are compared on the same photos. Put the photos back and remove the run that had others, or "
                "give another --output."
            )
        return np.array([row[column] == row["true"] for row in rows])


def _photos(rows: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Returns name and true class of each photo, its name in the folder of all, which may have moved between runs."""
    folder = os.path.commonpath([os.path.dirname(row["photo"]) for row in rows])
    return [(row["photo"].removeprefix(folder), row["true"]) for row in rows]


def _answers(job: Job, row: Row, split: str, source: Source, progress: Progress) -> tuple[list[dict[str, str]], str]:
    """Returns one network's predictions and the column of the row's branches."""
    single = row.branches[0] if row.branches is not None and len(row.branches) == 1 else None
    folder = current_evaluation(job.run, split, None if single else row.branches, progress, source)
    column = single or COMBINED
    return read_predictions(folder, [column]), column


def _order(accuracies: Mapping[str, float]) -> str:
    """Lists the methods from the best down, with `=` between equal ones."""
    ordered = sorted(accuracies, key=lambda method: -accuracies[method])
    signs = ["=" if accuracies[a] == accuracies[b] else ">" for a, b in itertools.pairwise(ordered)]
    return " ".join([*ordered[:1], *(f"{sign} {method}" for sign, method in zip(signs, ordered[1:], strict=True))])


def _compared(result: Result, baseline: Result | None) -> Result:
    shared = [seed for seed in result.seeds if baseline and seed in baseline.seeds]
    if baseline is None or result is baseline or not shared:
        return result
    own = result.correct[[result.seeds.index(seed) for seed in shared]]
    other = baseline.correct[[baseline.seeds.index(seed) for seed in shared]]
    difference = 100 * float(own.mean() - other.mean())
    return replace(result, difference=difference, p_value=paired_p_value(own, other))


def _accuracy_text(result: Result) -> str:
    if not result.seeds:
        return f"failed: {result.failures[0]}"
    spread = f" ± {result.deviation:.2f}" if result.deviation is not None else ""
    lost = f" ({len(result.failures)} failed)" if result.failures else ""
    return f"{result.mean:.2f}{spread} %{lost}"


def _cost_text(cost: Cost | None) -> tuple[str, ...]:
    if cost is None:
        return ("",) * len(COSTS)
    return (
        f"{cost.parameters / 1e6:.2f}",
        f"{cost.macs / 1e9:.2f}",
        "not converted" if cost.file_bytes is None else f"{cost.file_bytes / 1e6:.1f}",
    )


def _difference_text(result: Result) -> tuple[str, str]:
    if result.difference is None:
        return "", ""
    p = result.p_value or 0.0
    return f"{result.difference:+.2f}", "< 0.001" if p < 0.001 else f"{p:.3f}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
