"""What a tiny task costs the parent: CPU time of all its threads, its workers' not included."""

from __future__ import annotations

import time

from benchmarks.case import Case, Mark, over
from benchmarks.cases.throughput import WARM, gather
from benchmarks.peers import WITH_SUBMIT, Pool
from benchmarks.units import Unit


def parent_cpu(pool: Pool, tasks: int) -> float:
    """CPU seconds of this process for each task submitted and gathered."""
    gather(pool, WARM)
    start = time.process_time()
    gather(pool, tasks)
    return (time.process_time() - start) / tasks


CASE = Case(
    name="cpu",
    title="CPU of the parent for each tiny task",
    unit=Unit.TIME,
    subjects=over(parent_cpu, *WITH_SUBMIT, scale={"executor": 2.0, "deadpool": 0.25}),
    size=20_000,
    quick=4_000,
    marks=(Mark("at most", 15e-6), Mark("at most", 1, "multiprocessing.Pool")),
)
