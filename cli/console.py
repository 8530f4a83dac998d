"""Shared parts of the commands: silencing TensorFlow, errors as messages, progress and tables."""

import errno
import gc
import logging
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from clan_tf.cli.completion import complete_config, complete_data_key
from clan_tf.cli.streams import Unfailing, flush_stdout, prepare_streams
from clan_tf.errors import CheckFailed, ProcessLost, UserError, shortened
from clan_tf.progress import Progress
from clan_tf.silence import discarded_stderr
from clan_tf.text import duration, is_address, is_utf8, printable


def require_utf8(value: str | None, param: typer.CallbackParam) -> str | None:
    """Returns the path of a model or output; raises a `UserError` unless it is UTF-8, as required except for photos."""
    if value is not None and not is_utf8(value):
        raise UserError(f"{_named(param)}: must be a path in UTF-8; received {value}. Rename it, or give another.")
    return value


def require_some(value: str | None, param: typer.CallbackParam) -> str | None:
    """Returns the value; raises a `UserError` if it is an empty text, such as that of an unset variable of a shell."""
    if value == "":
        raise UserError(f"{_named(param)} is empty. Give a path{'' if param.required else ', or leave it out'}.")
    return value


def require_all(values: Sequence[str] | None, param: typer.CallbackParam) -> Sequence[str] | None:
    """Returns the values; raises a `UserError` if one is an empty text."""
    for value in values or ():
        require_some(value, param)
    return values


def _named(param: typer.CallbackParam) -> str:
    """Returns the name of an option or an argument, as its help has it."""
    return param.opts[0] if param.param_type_name == "option" else str(param.metavar).partition("|")[0].strip("[]…")


def usable_path(value: str | None, param: typer.CallbackParam) -> str | None:
    """Returns the path of a model or output with `~` replaced, which shells leave in `--output=~/x`; see above.

    Raises:
        UserError: if it is empty, an address or not UTF-8.
    """
    if value is None:
        return None
    require_some(value, param)
    if is_address(value):
        raise UserError(f"{_named(param)}: must be a path; received the address {value}. Addresses aren't read.")
    return require_utf8(os.path.expanduser(value), param)


def _require_data_keys(values: list[str] | None) -> list[str] | None:
    from clan_tf.config import require_data_key

    for value in values or ():
        require_data_key(value)
    return values


ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="CONFIG",
        callback=usable_path,
        autocompletion=complete_config,
        help="Folder of photos, or config, whose data to use; by default the run's own.",
    ),
]
TrainedModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        callback=usable_path,
        help="A run directory, a .keras file, or the folder of an export of that format.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        callback=_require_data_keys,
        autocompletion=complete_data_key,
        help="Overrides a key of the data, such as data.root=FOLDER. Repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        callback=usable_path,
        help="A run directory, a .keras, .tflite or .onnx file, a SavedModel folder, or the folder of an export.",
    ),
]


INTERRUPTED = 130
"""The exit code after Ctrl-C, by the convention of shells."""
BROKEN_PIPE = 141
"""The exit code after the reader of the output closed it, by the convention of shells."""
SECONDS_BETWEEN_LINES = 30
"""Interval of progress lines if stderr isn't a terminal."""
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?(%|[A-Za-z]{1,2}))?|…|")
"""A number, possibly with a unit, or nothing."""


def quiet_tensorflow() -> None:
    """Chooses the backends and silences the libraries' start-up noise; to be called before they are imported.

    Raises:
        UserError: if TensorFlow or Keras isn't installed.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow itself uses oneDNN only on processors with AVX512-VNNI or the like; it is faster with AVX2, too.
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Pictures are drawn to files, regardless of the caller's display, and fonts needn't be cached.
    os.environ["MPLBACKEND"] = "agg"
    for library in ("tensorflow", "matplotlib"):
        logging.getLogger(library).setLevel(logging.ERROR)
    # TensorFlow's C++ side writes to the descriptor before its log level is read.
    try:
        with discarded_stderr(), _without_collections():
            # Keras, which TensorFlow imports, would import scikit-learn for wrappers that no verb uses.
            with _hidden("sklearn"):
                import tensorflow  # noqa: F401
            import clan_tf.models  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} isn't installed; only `predict` with a .tflite or .onnx file runs without it. "
            "Install everything: pip install clan-tf."
        ) from error


@contextmanager
def _without_collections() -> Iterator[None]:
    """Lets the block allocate without garbage collections: a quarter of the time in which TensorFlow is imported."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Lets imports inside the block find that a module isn't installed, unless it is already imported."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def run_safely(command: Callable[[], Any]) -> None:
    """Runs the command line: exits with 2 for a user's mistake and 1 for a failed check, with just the message."""
    prepare_streams()
    message, code = _outcome(command)
    unwritten = flush_stdout()
    if isinstance(unwritten, BrokenPipeError):
        message, code = "", code or BROKEN_PIPE
    elif unwritten and not message:
        message, code = f"the output can't be written: {unwritten.strerror}", 1
    if message:
        print(f"clan-tf: {_shown(message)}", file=Unfailing(sys.stderr), flush=True)
    if code is not None:
        raise SystemExit(code)


def _outcome(command: Callable[[], Any]) -> tuple[str, Any]:
    """Runs a command and returns its message and, if it has one, its exit code."""
    try:
        _require_working_folder()
        _settle_home()
        command()
    except UserError as error:
        return str(error), 2
    except ProcessLost as error:
        print(f"clan-tf: {_shown(str(error))}", file=sys.stderr, flush=True)
        os._exit(1)
    except CheckFailed as error:
        return str(error), 1
    except BrokenPipeError:
        return "", BROKEN_PIPE
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return f"{shortened(str(error.filename))}: {error.strerror}. Give another path.", 2
        return f"{error.filename or 'the output or a file'}: {error.strerror or error}", 1
    except KeyboardInterrupt:
        return "interrupted", INTERRUPTED
    except SystemExit as exit_:
        if exit_.code == INTERRUPTED:  # Typer's, which has no message
            return "interrupted", INTERRUPTED
        if isinstance(exit_.__context__, BrokenPipeError):  # Typer's and rich's
            return "", BROKEN_PIPE
        return "", exit_.code
    return "", None


def _require_working_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("The working folder no longer exists. Change to one that does: cd.") from error


def _settle_home() -> None:
    """Points `HOME` at the null device if it is unknown: libraries would make a folder named `~`."""
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = os.devnull


def print_json(value: Any) -> None:
    """Prints one JSON document on stdout; characters that the encoding lacks are escaped as JSON allows."""
    from clan_tf.files import json_text

    text = json_text(value)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json_text(value, ascii_only=True)
    print(text)


def say(text: str = "") -> None:
    """Prints a text on stdout, with control characters escaped."""
    print(_shown(text))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table on stdout: columns of numbers are right-aligned, texts left-aligned."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(_shown(title), style="bold", markup=False, highlight=False)
    table = Table()
    for index, column in enumerate(columns):
        is_number = all(_NUMBER.fullmatch(row[index]) for row in rows)
        table.add_column(Text(_shown(column)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    console.print(table)


def large(value: float) -> str:
    """Formats a count, in G or M."""
    return f"{value / 1e9:.2f} G" if value >= 1e9 else f"{value / 1e6:.2f} M"


def percent(value: float) -> str:
    """Formats a share 0…1 as a percentage."""
    return f"{100 * value:.2f} %"


class ConsoleProgress(Progress):
    """Progress on stderr: bars with the time left if it is a terminal, otherwise a line now and then; notes always."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=Unfailing(sys.stderr))

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Callable[..., None]]:
        """Shows a bar with the time left on a terminal, and lines elsewhere."""
        if self._console.is_terminal:
            with self._bar(description, total) as advance:
                yield advance
        else:
            yield _LineProgress(description, total, self.note).advance

    @contextmanager
    def _bar(self, description: str, total: int) -> Iterator[Callable[..., None]]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        )
        with Bars(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(printable(description), total=total, text="")
            yield lambda text="": bars.update(task, advance=1, text=printable(text))

    def note(self, text: str) -> None:
        """Prints a line to standard error."""
        self._console.print(_shown(text), markup=False, highlight=False, soft_wrap=True)


class _LineProgress:
    """Writes a line every `SECONDS_BETWEEN_LINES` for logs: the task, how much of it is done, and the time left."""

    def __init__(self, description: str, total: int, write: Callable[[str], None]) -> None:
        self._description, self._total, self._write = description, total, write
        self._done, self._started = 0, time.monotonic()
        self._written = self._started

    def advance(self, text: str = "") -> None:
        """Counts a unit; to be called after each."""
        self._done += 1
        now = time.monotonic()
        if now - self._written >= SECONDS_BETWEEN_LINES:
            self._written = now
            left = (now - self._started) / self._done * (self._total - self._done)
            detail = f", {text}" if text else ""
            self._write(f"{self._description}: {self._done:,} of {self._total:,}, about {duration(left)} left{detail}")


def _shown(text: str) -> str:
    return printable(text, keep="\n")
