"""Work on many photos at a time."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Counts the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int | None = None, at_once: int | None = None
) -> Generator[Future[Result], None, None]:
    """Calls a function on every item, in several threads.

    Args:
        function: what is called.
        items: what it is called on.
        ahead: how many calls at most have begun or wait beyond the one that is yielded; all if `None`.
        at_once: how many calls go on at a time at most; as many as there are cores if `None`.

    Yields:
        A future for each item, in order; `result()` gives what the function returned, or raises what it raised. Calls
        that haven't started when the generator is closed, for example by Ctrl-C, are cancelled.
    """
    with ThreadPoolExecutor(min(cores(), at_once or cores())) as pool:
        futures: deque[Future[Result]] = deque()
        try:
            for item in items:
                futures.append(pool.submit(function, item))
                if ahead is not None and len(futures) > ahead:
                    yield futures[0]
                    futures.popleft()
            while futures:
                yield futures[0]
                futures.popleft()
        finally:
            for future in futures:
                future.cancel()
