"""One table or figure of the paper, from a config to the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clan_tf.config import Experiment
from clan_tf.data import Source, read_source
from clan_tf.errors import CheckFailed, UserError, counted, nearest
from clan_tf.files import only_process, require_folder_or_nothing
from clan_tf.progress import Progress
from clan_tf.reproduce.complexity_table import write_complexity_table
from clan_tf.reproduce.estimate import estimate_seconds
from clan_tf.reproduce.figures import draw_figure
from clan_tf.reproduce.paper import DATA_SETS, FIGURES, TABLES, Network, Table, data_set_of, paper_backbone
from clan_tf.reproduce.runs import Job, plan_jobs, run_jobs
from clan_tf.reproduce.tables import describe_orders, measure, significance_note, write_table
from clan_tf.text import duration

NAMES = (*sorted([*TABLES, "table5"]), *FIGURES)


@dataclass(frozen=True)
class Reproduction:
    """What was written.

    Attributes:
        files: the files.
        rows: the table's rows as plain values; none for a figure.
    """

    files: list[Path]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What would run.

    Attributes:
        jobs: state and estimated seconds, by the name of the run.
        basis: what the estimate is based on.
    """

    jobs: dict[str, tuple[str, float]]
    basis: str


def plan_reproduction(
    name: str,
    experiment: Experiment,
    seeds: Sequence[int],
    output: Path,
    progress: Progress | None = None,
    rows: Sequence[str] | None = None,
) -> Plan:
    """Plans what `reproduce` would train, and estimates the time; writes nothing in `output`.

    Raises:
        UserError: as in `reproduce`.
    """
    _check(name, seeds, output, rows)
    if name == "table5":
        return Plan({}, "counting parameters and multiply-accumulates needs no training")
    source = read_source(experiment.data)
    jobs = plan_jobs(_networks(name, rows), experiment, seeds, output)
    seconds, basis = estimate_seconds(jobs, source, progress or Progress())
    return Plan({job.run.path.name: (job.state, seconds.get(job.run.path.name, 0.0)) for job in jobs}, basis)


def reproduce(
    name: str,
    experiment: Experiment,
    seeds: Sequence[int],
    output: Path,
    progress: Progress | None = None,
    rows: Sequence[str] | None = None,
) -> Reproduction:
    """Reproduces one table or figure of the paper on a config's photos, backbone and recipe.

    Finished runs in `output/runs` are kept and reused by any table that needs the same network and seed; an
    interrupted run is resumed from its last checkpoint.

    Args:
        name: `table1` … `table6`, `figure4` … `figure6`.
        experiment: the photos, the backbone and the recipe; the table's rows determine the rest of the network.
        seeds: `training.seed` of each repetition.
        output: the folder of the table and its runs.
        progress: where progress is shown.
        rows: the rows of the table, such as `plain` and `bcnn` of Table 6; all by default.

    Raises:
        UserError: for a mistake in the arguments, if a run of another config is in the way, or if another process is
            working in `output`.
        CheckFailed: after everything else is written, if a run failed.
    """
    _check(name, seeds, output, rows)
    progress = progress or Progress()
    if name == "table5":
        output.mkdir(parents=True, exist_ok=True)
        return Reproduction(*write_complexity_table(experiment, output / name))
    source = read_source(experiment.data)
    split = "test" if source.splits.get("test") else "val"
    if split == "val":
        progress.note("note: there is no test split; these are accuracies on the photos that chose the epoch.")
    output.mkdir(parents=True, exist_ok=True)
    with only_process(output):
        jobs = plan_jobs(_networks(name, rows), experiment, seeds, output)
        failures = run_jobs(jobs, split, source, progress)
        if name in FIGURES:
            _require_no_failures(failures)
            return Reproduction([draw_figure(name, jobs, split, source, output, progress)], [])
        table = _table(name, rows)
        result = _write_accuracies(name, table, experiment, jobs, failures, split, source, output, progress)
    _require_no_failures(failures)
    return result


def _check(name: str, seeds: Sequence[int], output: Path, rows: Sequence[str] | None) -> None:
    if name not in NAMES:
        raise UserError(f"NAME: must be one of {', '.join(NAMES)}; received {name!r}.{nearest(name, list(NAMES))}")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds: must be different whole numbers from 0, such as 0,1,2; received {list(seeds)}.")
    require_folder_or_nothing("--output", output)
    if rows is None:
        return
    if name not in TABLES:
        raise UserError(f"--rows: {name} has no rows to choose from; {', '.join(TABLES)} have.")
    valid = TABLES[name].keys
    for row in rows:
        if row not in valid:
            raise UserError(f"--rows: {name} has no {row!r}.{nearest(row, valid)} There are: {', '.join(valid)}.")


def _table(name: str, rows: Sequence[str] | None) -> Table:
    return TABLES[name] if rows is None else TABLES[name].only(rows)


def _networks(name: str, rows: Sequence[str] | None) -> list[Network]:
    return list(FIGURES[name]) if name in FIGURES else [row.network for row in _table(name, rows).rows]


def _require_no_failures(failures: dict[str, str]) -> None:
    if failures:
        lines = [f"{counted(len(failures), 'run')} failed:", *(f"  {name}: {why}" for name, why in failures.items())]
        raise CheckFailed("\n".join(lines))


def _write_accuracies(
    name: str,
    table: Table,
    experiment: Experiment,
    jobs: Sequence[Job],
    failures: dict[str, str],
    split: str,
    source: Source,
    output: Path,
    progress: Progress,
) -> Reproduction:
    backbone = paper_backbone(experiment.model.backbone)
    data_set = data_set_of(experiment.data, len(source.class_names))
    results = measure(table, jobs, failures, split, source, (backbone, data_set), progress)
    path = output / name
    notes = [
        *([table.caption] if table.caption else []),
        *describe_orders(results, backbone, data_set),
        *([significance_note(table)] if any(result.difference is not None for result in results) else []),
        *_left_out(name, table),
        *source.notes,
        f"Accuracy on {counted(max(result.correct.shape[1] for result in results), f'{split} photo')}, "
        + ("mean ± standard deviation over the seeds." if len({job.seed for job in jobs}) > 1 else "one seed."),
        _describe_runs([job for job in jobs if job.run.path.name not in failures], output),
    ]
    write_table(results, _heading(name, table.title, experiment, source, data_set, jobs), notes, path)
    return Reproduction([path.with_suffix(".md"), path.with_suffix(".csv")], [result.to_json() for result in results])


def _left_out(name: str, table: Table) -> list[str]:
    missing = [key for key in TABLES[name].keys if key not in table.keys]
    return [f"Rows left out by --rows: {', '.join(missing)}."] if missing else []


def _describe_runs(jobs: Sequence[Job], output: Path) -> str:
    seconds = sum(job.run.read_status()["seconds"] for job in jobs)
    commits = ", ".join(sorted({job.commit or "not a checkout" for job in jobs}))
    return f"{counted(len(jobs), 'run')} in `{output / 'runs'}` took {duration(seconds)} in all (commit: {commits})."


def _heading(
    name: str, title: str, experiment: Experiment, source: Source, data_set: str | None, jobs: Sequence[Job]
) -> list[str]:
    data, training = experiment.data, experiment.training
    photos = DATA_SETS[data_set] if data_set else f"{data.source} ({data.root})" if data.root else data.source
    numbers = list(dict.fromkeys(job.seed for job in jobs))
    seeds = f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    return [
        f"{_title(name)}: {title}",
        f"{photos}, {len(source.class_names):,} classes, {data.image_size} px; backbone {experiment.model.backbone}; "
        f"{counted(training.epochs, 'epoch')}, batches of {training.batch_size}, learning rate "
        f"{training.learning_rate}; {seeds}.",
    ]


def _title(name: str) -> str:
    return f"{name[:-1].capitalize()} {name[-1]}"
