"""Constants of calls are written beside the thread that makes the next ones."""

import concurrent.futures
from collections.abc import Callable
from typing import Self

from edgecomp.lower.plan_weights import PlanWeights
from edgecomp.schedules.schedule import KernelCall

Taken = Callable[[], list[KernelCall]]


class ConstantTaker:
    """``PlanWeights.take`` in a thread, in order.

    Hashing and writing wait for no lock of Python, and take as long as packing.

    Args:
        weights: what takes the constants; None for nothing.
    """

    def __init__(self, weights: PlanWeights | None) -> None:
        self._weights = weights
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._last: concurrent.futures.Future[list[KernelCall]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, calls: list[KernelCall]) -> Taken:
        """What waits for the calls; before, for those of the last one, which leave memory."""
        if self._weights is None:
            return lambda: calls
        if self._last is not None:
            self._last.result()
        self._last = self._pool.submit(self._weights.take, calls)
        return self._last.result
