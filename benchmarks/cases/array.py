"""A large numpy array to a worker and back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.case import Case, Mark, over
from benchmarks.peers import EXECUTOR, FUTURES, LOKY, MPIRE, PEBBLE, POOL, Pool
from benchmarks.tasks import same
from benchmarks.units import Unit

TRIES = 15
REST = 0.2  # seconds
PEERS = (EXECUTOR, FUTURES, POOL, LOKY, PEBBLE, MPIRE)


def trips(pool: Pool, function: Callable[..., Any], megabytes: int) -> float:
    """The median of some trips with one array, after one that nobody counts.

    There is a rest behind that one: numpy's own threads (OpenBLAS) keep a core busy for some 50 ms after its import.
    """
    import numpy

    array = numpy.arange(megabytes * 1_000_000 // 8, dtype=numpy.float64)
    expected = function(array)
    times = []
    for _ in range(1 + TRIES):
        start = time.perf_counter()
        answer = pool.result(pool.submit(function, array))
        times.append(time.perf_counter() - start)
        if not numpy.array_equal(answer, expected):
            raise RuntimeError("the answer is not the one expected")
        del answer  # before the next trip: what it holds may be wanted again
        if len(times) == 1:
            time.sleep(REST)
    return statistics.median(times[1:])


def there_and_back(pool: Pool, megabytes: int) -> float:
    """Seconds for one array to a worker and back."""
    return trips(pool, same, megabytes)


CASE = Case(
    name="array",
    title="64 MB array to a worker and back",
    unit=Unit.TIME,
    subjects=over(there_and_back, *PEERS),
    size=64,
    quick=64,
    marks=(Mark("at most", 1 / 15, "concurrent.futures"),),
)
