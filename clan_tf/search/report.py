"""What a search writes: its table, its picture, TensorBoard's HParams, and the best experiment."""

from collections.abc import Sequence

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from clan_tf.config import Experiment, with_values
from clan_tf.errors import counted
from clan_tf.files import markdown_table, write_csv, write_text, written_by_tensorflow
from clan_tf.search.directory import SearchDirectory, TrialResult
from clan_tf.search.picture import plot_trials
from clan_tf.search.space import SearchConfig
from clan_tf.search.standing import shown_value
from clan_tf.text import duration


def write_report(experiment: Experiment, search: SearchConfig, directory: SearchDirectory) -> list[TrialResult]:
    """Writes everything about the trials that have ended, and returns them from the best to the worst."""
    ranked = directory.ranked(search)
    _write_csv(ranked, search, directory)
    write_text(directory.leaderboard_text, _markdown(experiment, ranked, search))
    _write_hparams(ranked, search, directory)
    completed = [result for result in ranked if result.reason is None]
    if completed:
        plot_trials(completed, search, directory.picture)
        write_text(directory.best_config, _best_config(experiment, completed[0], search))
    return ranked


def leaderboard_columns(search: SearchConfig) -> list[str]:
    """Returns the columns of the leaderboard: the searched keys, and the objective as a mean over the repeats."""
    return [*("rank", "trial", *search.parameters), search.objective, "spread", "repeats", "best_epochs", "seconds"]


def leaderboard_row(rank: int, result: TrialResult, search: SearchConfig) -> list[str]:
    """Returns a trial's row; unused keys, and the numbers of a failed trial, are left empty."""
    values = [shown_value(result.values[key]) if key in result.values else "" for key in search.parameters]
    numbers = ["", ""]
    if result.reason is None:
        numbers = [f"{result.mean:.6g}", "" if result.spread is None else f"{result.spread:.4g}"]
    each = " ".join(f"{repeat.value:.6g}" for repeat in result.repeats)
    epochs = " ".join(str(repeat.epoch) for repeat in result.repeats)
    return [str(rank), result.trial, *values, *numbers, each, epochs, f"{result.seconds:.1f}"]


def _write_csv(ranked: Sequence[TrialResult], search: SearchConfig, directory: SearchDirectory) -> None:
    rows = [
        [*leaderboard_row(rank, result, search), result.reason or ""] for rank, result in enumerate(ranked, start=1)
    ]
    write_csv(directory.leaderboard, [*leaderboard_columns(search), "failed"], rows)


def _markdown(experiment: Experiment, ranked: Sequence[TrialResult], search: SearchConfig) -> str:
    columns = [column.removeprefix("model.").removeprefix("training.") for column in leaderboard_columns(search)]
    rows = [leaderboard_row(rank, result, search) for rank, result in enumerate(ranked, start=1)]
    repeats = f"mean and standard deviation over {search.repeats} seeds, " if search.repeats > 1 else ""
    lines = [
        f"# {experiment.name}: {counted(len(ranked), 'trial')} by {search.algorithm} search",
        "",
        f"`{search.objective}`, {repeats}each at its best epoch. {experiment.training.epochs} epochs at most; "
        f"{duration(sum(result.seconds for result in ranked))} of training.",
        "",
        *markdown_table(columns, rows),
    ]
    failed = [result for result in ranked if result.reason is not None]
    if failed:
        lines += [
            "",
            "Failed:",
            "",
            *(f"- trial {result.trial}: {' '.join((result.reason or '').split())}" for result in failed),
        ]
    return "\n".join(lines) + "\n"


def _write_hparams(ranked: Sequence[TrialResult], search: SearchConfig, directory: SearchDirectory) -> None:
    directory.remove_logs()
    for result in ranked:
        values = {key: _tensorboard_value(value) for key, value in result.values.items()}
        with written_by_tensorflow(directory.trial_logs(result.trial)):
            writer = tf.summary.create_file_writer(str(directory.trial_logs(result.trial)))
            with writer.as_default(step=0):
                hparams.hparams(values, trial_id=result.trial)
                if result.reason is None:
                    tf.summary.scalar(search.objective, result.mean)
                    tf.summary.scalar("seconds", result.seconds)
            writer.close()


def _tensorboard_value(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else shown_value(value)


def _best_config(experiment: Experiment, best: TrialResult, search: SearchConfig) -> str:
    spread = "" if best.spread is None else f" (standard deviation {best.spread:.4f} over {len(best.repeats)} seeds)"
    header = [
        f"# The best of a {search.algorithm} search: trial {best.trial}, {search.objective} {best.mean:.4f}{spread}.",
        "# It was chosen on validation photos; the test photos weren't used.",
        *(f"# {key}: {shown_value(value)}" for key, value in best.values.items()),
    ]
    return "\n".join(header) + "\n" + with_values(experiment, best.values).to_yaml()
