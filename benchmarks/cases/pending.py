"""What the parent keeps for a task that waits its turn."""

from __future__ import annotations

import gc
import os

from benchmarks.case import Case, Mark, Measure
from benchmarks.peers import EXECUTOR, FUTURES, LOKY, MPIRE, PEBBLE, POOL, WORKERS, Peer, Pool
from benchmarks.tasks import nap, same
from benchmarks.units import Unit

BUSY = 3600.0


def resident() -> int:
    """This process's resident bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def bytes_a_task(pool: Pool, tasks: int) -> float:
    """Growth of the parent for each pending tiny task, the handle that its caller keeps included."""
    for handle in [pool.submit(same, 1) for _ in range(1000)]:
        pool.result(handle)
    kept = [pool.submit(nap, BUSY) for _ in range(WORKERS)]
    gc.collect()
    before = resident()
    kept += [pool.submit(same, 1) for _ in range(tasks)]
    return (resident() - before) / tasks


def unclosed(peer: Peer) -> Measure:
    """The pool is left as it is: closing one with a million tasks behind a long one is another benchmark."""

    def measured(tasks: int) -> float:
        return bytes_a_task(peer.open(WORKERS), tasks)

    return measured


CASE = Case(
    name="pending",
    title="Memory of the parent for each pending task",
    unit=Unit.MEMORY,
    subjects={peer.label: unclosed(peer) for peer in (EXECUTOR, FUTURES, POOL, LOKY, PEBBLE, MPIRE)},
    size=1_000_000,
    quick=100_000,
    marks=(Mark("at most", 0.35, "concurrent.futures"),),
    limit=300,
)
