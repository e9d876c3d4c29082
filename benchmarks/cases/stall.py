"""How long an asyncio loop is held up while many of its coroutines wait for tasks."""

from __future__ import annotations

import asyncio
import time

from benchmarks.case import Case, Mark, Measure
from benchmarks.peers import EXECUTOR, FUTURES, WORKERS, Peer, Pool
from benchmarks.tasks import nap
from benchmarks.units import Unit

TASK = 2e-3
TICK = 1e-3


async def longest_stall(pool: Pool, awaits: int) -> float:
    """The longest time between two ticks of a coroutine that only sleeps, beyond the sleep itself."""
    loop = asyncio.get_running_loop()
    executor = pool.submit.__self__  # type: ignore[attr-defined]
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        before = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            longest = max(longest, now - before - TICK)
            before = now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(10 * TICK)
    longest = 0.0
    await asyncio.gather(*(loop.run_in_executor(executor, nap, TASK) for _ in range(awaits)))
    ticking.cancel()
    return longest


def stall(peer: Peer) -> Measure:
    """Of one pool, its workers up."""

    def measured(awaits: int) -> float:
        with peer.opened(WORKERS) as pool:
            for handle in [pool.submit(nap, 0.05) for _ in range(2 * WORKERS)]:
                pool.result(handle)
            return asyncio.run(longest_stall(pool, awaits))

    return measured


CASE = Case(
    name="stall",
    title="Longest stall of an asyncio loop, 200 awaits of 2 ms tasks",
    unit=Unit.TIME,
    subjects={peer.label: stall(peer) for peer in (EXECUTOR, FUTURES)},
    size=200,
    quick=200,
    marks=(Mark("at most", 20e-3),),
)
