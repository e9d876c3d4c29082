"""A new executor on workers that are already up, to its first result."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from benchmarks.case import Absent, Case, Mark
from benchmarks.peers import EXECUTOR, WORKERS
from benchmarks.units import Unit


def median_of(opening: Callable[[], object], times: int) -> float:
    """The median seconds of one opening."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        opening()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def on_manager(times: int) -> float:
    """An executor that borrows from a warm WorkerManager, its first result, and giving the workers back."""
    import executor

    if not hasattr(executor, "WorkerManager"):
        raise Absent("this version has no WorkerManager")

    def opening() -> None:
        with executor.ProcessPoolExecutor(manager=manager) as pool:
            pool.submit(os.getpid).result()

    with executor.WorkerManager(WORKERS) as manager:
        opening()
        return median_of(opening, times)


def reused(times: int) -> float:
    """Our get_reusable_executor, asked again with the same arguments."""
    import executor

    if not hasattr(executor, "get_reusable_executor"):
        raise Absent("this version has no get_reusable_executor")
    return reusable(executor.get_reusable_executor, times)


def reused_loky(times: int) -> float:
    """loky's."""
    import loky

    return reusable(loky.get_reusable_executor, times)


def reusable(get: Callable[..., object], times: int) -> float:
    """Getting the same executor again and a result from it."""

    def opening() -> None:
        get(WORKERS).submit(os.getpid).result()  # type: ignore[attr-defined]

    opening()
    spent = median_of(opening, times)
    get(WORKERS).shutdown()  # type: ignore[attr-defined]
    return spent


def round_trip(times: int) -> float:
    """The part of it that is the round trip of a task."""
    with EXECUTOR.opened() as pool:
        pool.result(pool.submit(os.getpid))
        return median_of(lambda: pool.result(pool.submit(os.getpid)), times)


CASE = Case(
    name="warm",
    title="A new executor on a warm manager to its first result",
    unit=Unit.TIME,
    subjects={
        "executor": on_manager,
        "executor, get_reusable_executor": reused,
        "loky, get_reusable_executor": reused_loky,
        "executor, a task's round trip alone": round_trip,
    },
    size=100,
    quick=20,
    marks=(Mark("at most", 2e-3),),
    note="The first row includes closing the executor again.",
)
