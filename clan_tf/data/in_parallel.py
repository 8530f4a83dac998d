"""Work on many photos at a time."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Future[Result]]:
    """Calls a function on every item, on all cores.

    Yields:
        A future for each item, in order; `result()` gives what the function returned, or raises what it raised. Calls
        that haven't started when the generator is closed, for example by Ctrl-C, are cancelled.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            yield from futures
        finally:
            for future in futures:
                future.cancel()
