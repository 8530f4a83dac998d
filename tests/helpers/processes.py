"""Other processes, as tests need them beside their own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_KEEPER = """
import sys
from pathlib import Path
from clan_tf.files import only_process
with only_process(Path(sys.argv[1])):
    print("kept", flush=True)
    sys.stdin.read()
"""


@contextmanager
def kept_by_another_process(folder: Path) -> Iterator[None]:
    """A second process claims the folder while the block runs."""
    command = [sys.executable, "-c", _KEEPER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout.readline() == "kept\n"
        yield
