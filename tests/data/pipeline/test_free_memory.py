"""Free memory, from the files of a system that is made up."""

import pytest

from clan_tf.data.pipeline.free_memory import available_memory

MEMINFO = ["MemTotal: 9000000 kB", "MemAvailable: 8000000 kB"]
ROOT = "/sys/fs/cgroup"


def limited(folder: str, limit: str, used: int, inactive: int = 0, version: int = 2) -> dict[str, list[str]]:
    """The files of a control group."""
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    counted = "inactive_file" if version == 2 else "total_inactive_file"
    stat = ["anon 200000", "active_file 100000", f"{counted} {inactive}"]
    return {f"{folder}/{names[0]}": [limit], f"{folder}/{names[1]}": [str(used)], f"{folder}/memory.stat": stat}


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        ([], {}, 8_192_000_000),
        (["0::/"], limited(ROOT, "1000000", 900_000, 600_000), 700_000),  # a container; unused pages of files are free
        (["0::/"], limited(ROOT, "max", 900_000), 8_192_000_000),
        # A job in groups of groups: the tightest counts.
        (
            ["0::/slurm/job 1/step"],
            limited(f"{ROOT}/slurm", "9000", 5000)
            | limited(f"{ROOT}/slurm/job 1", "7000", 4000)
            | limited(f"{ROOT}/slurm/job 1/step", "max", 10),
            3000,
        ),
        (
            ["4:cpu,memory:/box/1", "1:cpuset:/other", "0::/"],
            limited(f"{ROOT}/memory/box/1", "5000", 4000, 500, version=1)
            | limited(f"{ROOT}/memory", "9223372036854771712", 9_000, version=1),
            1500,
        ),
        # Version 1 shows a container the path that it has outside.
        (["4:memory:/docker/abc"], limited(f"{ROOT}/memory", "6000", 4000, version=1), 2000),
        (["0::/../../job"], limited(ROOT, "6000", 4000), 2000),
        (["0::/"], limited(ROOT, "6000", 7000), 0),
    ],
)
def test_free_memory_is_within_the_limits_of_every_control_group(
    groups: list[str], files: dict[str, list[str]], free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": groups, **files}
    monkeypatch.setattr("clan_tf.data.pipeline.free_memory._lines", lambda path: files.get(path, []))
    assert available_memory() == free


def test_this_machine_has_memory() -> None:
    assert 1e8 < available_memory() < 1e14
