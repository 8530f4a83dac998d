"""Reading of photos while a model is busy with earlier ones."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from clan_tf.runtime.exported import cores

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_READERS = 8
"""More would only hold more whole photos in memory."""


def read_ahead(read: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Generator[Result, None, None]:
    """Calls a function on every item in other threads, ahead of what is taken, and yields its results in order.

    Args:
        read: the function; what it raises is raised in its place.
        items: what it is called on.
        ahead: how many results are waiting or being made at most.

    Calls that haven't started when the generator is closed are cancelled.
    """
    with ThreadPoolExecutor(min(cores(), MOST_READERS)) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
