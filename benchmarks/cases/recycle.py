"""Workers that are replaced every ten tasks: the share of throughput that is left."""

from __future__ import annotations

import time

from benchmarks.case import Case, Mark, Measure
from benchmarks.peers import DEADPOOL, EXECUTOR, FUTURES, PEBBLE, POOL, WORKERS, Opener
from benchmarks.units import Unit

TASKS_PER_CHILD = 10
TASK = 1e-3


def rate(opener: Opener, tasks: int, **options: object) -> float:
    """Tasks a second after every worker is up."""
    pool = opener(WORKERS, **options)
    for handle in [pool.submit(time.sleep, 0.05) for _ in range(2 * WORKERS)]:
        pool.result(handle)
    start = time.perf_counter()
    for handle in [pool.submit(time.sleep, TASK) for _ in range(tasks)]:
        pool.result(handle)
    spent = time.perf_counter() - start
    pool.close()
    return tasks / spent


def share_left(opener: Opener, **options: object) -> Measure:
    """Throughput with the quota as a share of the throughput without it, one right after the other."""

    def measured(tasks: int) -> float:
        without = rate(opener, tasks, **options)
        return rate(opener, tasks, max_tasks=TASKS_PER_CHILD, **options) / without

    return measured


CASE = Case(
    name="recycle",
    title="Throughput left with max_tasks_per_child=10 and 1 ms tasks",
    unit=Unit.SHARE,
    subjects={
        "executor": share_left(EXECUTOR.open),
        "executor, fork": share_left(EXECUTOR.open, method="fork"),
        "concurrent.futures, forkserver": share_left(FUTURES.open, method="forkserver"),
        "multiprocessing.Pool, fork": share_left(POOL.open),
        "pebble, fork": share_left(PEBBLE.open),
        "deadpool, forkserver": share_left(DEADPOOL.open),
    },
    size=1_000,
    quick=300,
    higher_is_better=True,
    marks=(Mark("at least", 0.7), Mark("at least", 0.7, subject="executor, fork")),
    note="Each pool against itself. The task is time.sleep, so that no worker has a module to load for it. "
    "concurrent.futures has no such quota with fork.",
    limit=60,
)
