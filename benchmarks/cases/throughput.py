"""Tiny tasks, one ``submit`` each, all results gathered."""

from __future__ import annotations

import time

from benchmarks.case import Case, Mark, over
from benchmarks.peers import WITH_SUBMIT, Pool
from benchmarks.tasks import same
from benchmarks.units import Unit

WARM = 500


def gather(pool: Pool, tasks: int) -> None:
    """Submit so many tiny tasks and wait for every result."""
    submit, result = pool.submit, pool.result
    handles = [submit(same, number) for number in range(tasks)]
    for handle in handles:
        result(handle)


def rate(pool: Pool, tasks: int) -> float:
    """Tasks a second, with every worker already up."""
    gather(pool, WARM)
    start = time.perf_counter()
    gather(pool, tasks)
    return tasks / (time.perf_counter() - start)


CASE = Case(
    name="throughput",
    title="Tiny tasks through submit, results gathered",
    unit=Unit.RATE,
    subjects=over(rate, *WITH_SUBMIT, scale={"executor": 2.0, "deadpool": 0.25}),
    size=20_000,
    quick=4_000,
    higher_is_better=True,
    marks=(Mark("at least", 12, "concurrent.futures"), Mark("at least", 4, "multiprocessing.Pool")),
)
