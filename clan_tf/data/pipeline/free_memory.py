"""How much memory is free, within the limits of a container or a job."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class _Hierarchy(NamedTuple):
    """A tree of control groups: where it is mounted, and the names of its files and of what it counts."""

    root: str
    limit: str
    used: str
    inactive: str


_VERSION_1 = _Hierarchy(
    "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)
_VERSION_2 = _Hierarchy("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def available_memory() -> int:
    """Returns the bytes of memory that can be used without swapping, within the limits of the process' control groups.

    Containers, SLURM and systemd limit memory by control groups, each of which is within those above it.
    """
    free = [1024 * int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    for hierarchy, path in _groups():
        # A container sees its own group as the root, whatever path it has outside.
        inside = PurePosixPath("/", *(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        for group in (inside, *inside.parents):
            free += _free_in(hierarchy, f"{hierarchy.root}{group}".rstrip("/"))
    # Systems without /proc report only how much there is in all.
    return max(0, min(free, default=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))


def _groups() -> Iterator[tuple[_Hierarchy, str]]:
    """Yields the trees that limit memory, and the path of this process' group in each."""
    for line in _lines("/proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield _VERSION_1, path
        elif number == "0":
            yield _VERSION_2, path


def _free_in(hierarchy: _Hierarchy, folder: str) -> Iterator[int]:
    """Yields what a group has left of its limit, if it has one."""
    limit, used = (_lines(f"{folder}/{file}") for file in (hierarchy.limit, hierarchy.used))
    if limit and limit[0].isdigit() and used:
        # Cached pages of files count as used, and are freed when memory is needed.
        given_up = dict(line.split() for line in _lines(f"{folder}/memory.stat")).get(hierarchy.inactive, 0)
        yield int(limit[0]) - int(used[0]) + int(given_up)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
