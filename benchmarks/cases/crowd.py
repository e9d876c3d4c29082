"""The cost of a tiny task when there are many workers, or many tasks."""

from __future__ import annotations

import statistics
import time

from benchmarks.case import Case, Mark, Measure
from benchmarks.cases.throughput import gather
from benchmarks.peers import EXECUTOR, FUTURES, Peer, Pool
from benchmarks.tasks import nap
from benchmarks.units import Unit

BATCH = 1_000
BATCHES = 20
BASE = "executor, 2 workers, 1,000 tasks"
MANY_WORKERS, MANY_TASKS = "executor, 64 workers", "executor, a million tasks"
BASE_FUTURES = "concurrent.futures, 2 workers, 1,000 tasks"


def warm(pool: Pool, workers: int) -> None:
    """Every worker up: so many tasks at once, each long enough that no worker gets two."""
    for handle in [pool.submit(nap, 0.2) for _ in range(workers)]:
        pool.result(handle)


def in_batches(peer: Peer, workers: int) -> Measure:
    """Seconds a task in batches of 1,000, the median of some batches."""

    def measured(_: int) -> float:
        with peer.opened(workers) as pool:
            warm(pool, workers)
            times = []
            for _ in range(BATCHES):
                start = time.perf_counter()
                gather(pool, BATCH)
                times.append((time.perf_counter() - start) / BATCH)
            return statistics.median(times)

    return measured


def all_at_once(peer: Peer, workers: int) -> Measure:
    """Seconds a task when all of them are submitted before the first result is taken."""

    def measured(tasks: int) -> float:
        with peer.opened(workers) as pool:
            warm(pool, workers)
            start = time.perf_counter()
            gather(pool, tasks)
            return (time.perf_counter() - start) / tasks

    return measured


CASE = Case(
    name="crowd",
    title="Cost of a tiny task with many workers, or many tasks",
    unit=Unit.TIME,
    subjects={
        BASE: in_batches(EXECUTOR, 2),
        MANY_WORKERS: in_batches(EXECUTOR, 64),
        MANY_TASKS: all_at_once(EXECUTOR, 2),
        BASE_FUTURES: in_batches(FUTURES, 2),
        "concurrent.futures, 64 workers": in_batches(FUTURES, 64),
    },
    size=1_000_000,
    quick=100_000,
    marks=(
        Mark("at most", 1.3, BASE, subject=MANY_WORKERS),
        Mark("at most", 1.3, BASE, subject=MANY_TASKS),
    ),
    baseline=BASE,
    note="In a quick run, a hundred thousand tasks stand for the million.",
    limit=300,
)
