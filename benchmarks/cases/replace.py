"""A worker killed in the middle of a task: how long until its replacement has given a first result.

One worker, busy; one task queued behind it; SIGKILL. The clock runs from the kill to the result of the
queued task. Where the whole pool breaks, as the standard one does, the time to shut it down and build
another counts instead: that is what its user has to do.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from functools import partial

from benchmarks.case import Case, Mark, Measure
from benchmarks.peers import DEADPOOL, EXECUTOR, FUTURES, LOKY, PEBBLE, POOL, Pool
from benchmarks.tasks import nap, pid
from benchmarks.units import Unit

BUSY = 60.0
SETTLE = 0.1
"""Seconds for the busy task to have begun and for whatever the pool prepares behind it."""


def kill_and_wait(pool: Pool, reopen: Callable[[], Pool]) -> tuple[float, Pool]:
    """Seconds from the kill to the next result, and the pool that gave it."""
    victim = pool.result(pool.submit(pid))
    pool.submit(nap, BUSY)
    queued = pool.submit(pid)
    time.sleep(SETTLE)
    start = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    try:
        other = pool.result(queued)
    except Exception:
        pool.close()
        pool = reopen()
        other = pool.result(pool.submit(pid))
    spent = time.perf_counter() - start
    if other == victim:
        raise RuntimeError("the killed worker answered")
    return spent, pool


def replacement(opener: Callable[[], Pool], kills: int) -> float:
    """The median over some kills. The last pool is left as it is: not every one can be closed now."""
    pool = opener()
    times = []
    for _ in range(kills):
        spent, pool = kill_and_wait(pool, opener)
        times.append(spent)
    return statistics.median(times)


def one_worker(opener: Callable[..., Pool], **options: str) -> Measure:
    """The measure of one pool with one worker."""
    return partial(replacement, partial(opener, 1, **options))


CASE = Case(
    name="replace",
    title="A killed worker to its replacement's first result",
    unit=Unit.TIME,
    subjects={
        "executor": one_worker(EXECUTOR.open),
        "executor, fork": one_worker(EXECUTOR.open, method="fork"),
        "executor, spawn": one_worker(EXECUTOR.open, method="spawn"),
        "executor, loky": one_worker(EXECUTOR.open, method="loky"),
        "concurrent.futures, fork, rebuilt": one_worker(FUTURES.open),
        "concurrent.futures, forkserver, rebuilt": one_worker(FUTURES.open, method="forkserver"),
        "multiprocessing.Pool, fork": one_worker(POOL.open),
        "loky, rebuilt": one_worker(LOKY.open),
        "pebble, fork": one_worker(PEBBLE.open),
        "deadpool, forkserver": one_worker(DEADPOOL.open),
    },
    size=10,
    quick=3,
    marks=(Mark("at most", 15e-3),),
    note="In multiprocessing.Pool the replacement comes, but the lost task's get() waits for ever.",
    limit=60,
)
