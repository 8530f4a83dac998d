"""Work on many photos at a time."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int | None = None
) -> Generator[Future[Result], None, None]:
    """Calls a function on every item, on all cores.

    Args:
        function: what is called, in other threads.
        items: what it is called on.
        ahead: how many calls at most have begun or wait beyond the one that is yielded; all if `None`.

    Yields:
        A future for each item, in order; `result()` gives what the function returned, or raises what it raised. Calls
        that haven't started when the generator is closed, for example by Ctrl-C, are cancelled.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures: deque[Future[Result]] = deque()
        try:
            for item in items:
                futures.append(pool.submit(function, item))
                if ahead is not None and len(futures) > ahead:
                    yield futures.popleft()
            while futures:
                yield futures.popleft()
        finally:
            for future in futures:
                future.cancel()
