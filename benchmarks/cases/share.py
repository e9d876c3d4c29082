"""One large array for many tasks: sent with each of them, or shared once."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.case import Absent, Case, Mark
from benchmarks.peers import EXECUTOR, FUTURES, JOBLIB, WORKERS, Pool
from benchmarks.tasks import same, total, total_and_nap
from benchmarks.units import Unit

TASKS = 50
ONE, SHARED, EACH = (
    "executor, one task",
    "executor, share() and 50 tasks",
    "executor, sent with each of 50 tasks",
)


def numbers(megabytes: int) -> Any:
    """A new array of that size."""
    import numpy

    return numpy.arange(megabytes * 1_000_000 // 8, dtype=numpy.float64)


def many(pool: Pool, array: Any, tasks: int) -> float:
    """Seconds until so many tasks have each read the array."""
    start = time.perf_counter()
    handles = [pool.submit(total, array) for _ in range(tasks)]
    for handle in handles:
        pool.result(handle)
    return time.perf_counter() - start


def warmed(pool: Pool, megabytes: int) -> Pool:
    """The pool with its workers up, numpy loaded in each of them and one array gone through."""
    handles = [pool.submit(total_and_nap, numbers(megabytes)) for _ in range(2 * WORKERS)]
    for handle in handles:
        pool.result(handle)
    pool.result(pool.submit(same, 1))
    return pool


def one(megabytes: int) -> float:
    """One task with the array as an ordinary argument."""
    with EXECUTOR.opened() as pool:
        return many(warmed(pool, megabytes), numbers(megabytes), 1)


def each(megabytes: int) -> float:
    """The array as an ordinary argument of every task."""
    with EXECUTOR.opened() as pool:
        return many(warmed(pool, megabytes), numbers(megabytes), TASKS)


def each_with_futures(megabytes: int) -> float:
    """The same through concurrent.futures."""
    with FUTURES.opened() as pool:
        return many(warmed(pool, megabytes), numbers(megabytes), TASKS)


def shared(megabytes: int) -> float:
    """The array shared first; the time of sharing it counts."""
    import executor

    if not hasattr(executor, "share"):
        raise Absent("this version has no share()")
    with EXECUTOR.opened() as pool:
        array = numbers(megabytes)
        warmed(pool, megabytes)
        start = time.perf_counter()
        handle = executor.share(array)
        sharing = time.perf_counter() - start
        return sharing + many(pool, handle, TASKS)


def mapped_with_joblib(megabytes: int) -> float:
    """joblib writes the array to a file once and maps it in every worker."""
    with JOBLIB.opened() as pool:
        list(pool.map(total, [numbers(1)] * 4, 1))
        array = numbers(megabytes)
        start = time.perf_counter()
        list(pool.map(total, [array] * TASKS, 1))
        return time.perf_counter() - start


CASE = Case(
    name="share",
    title="64 MB array read by 50 tasks",
    unit=Unit.TIME,
    subjects={
        SHARED: shared,
        ONE: one,
        EACH: each,
        "concurrent.futures, sent with each": each_with_futures,
        "joblib, mapped file": mapped_with_joblib,
    },
    size=64,
    quick=64,
    marks=(Mark("at most", 2, ONE, subject=SHARED),),
    baseline=SHARED,
)
