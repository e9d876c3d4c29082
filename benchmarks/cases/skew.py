"""A mix of many short and a few long tasks, shuffled: the makespan over the ideal one."""

from __future__ import annotations

import os
import random
import time

from benchmarks.case import Case, Mark, Measure
from benchmarks.peers import WITH_SUBMIT, WORKERS, Peer, Pool
from benchmarks.tasks import nap
from benchmarks.units import Unit

SHORT, LONG = 1e-3, 60e-3
SHORT_TASKS, LONG_TASKS = 600, 10
SEED = 7
"""With this one, a schedule that gives the next task to the first free worker loses nothing by bad luck."""
WARM = 0.05


def mix() -> list[float]:
    """The durations in their shuffled order."""
    durations = [SHORT] * SHORT_TASKS + [LONG] * LONG_TASKS
    random.Random(SEED).shuffle(durations)
    return durations


def makespan(peer: Peer) -> Measure:
    """From the first submit to the last result, over what the same sleeps take without a pool."""

    def measured(_: int) -> float:
        durations = mix()
        ideal = slept_alone(durations)
        with peer.opened(WORKERS) as pool:
            gather(pool, [WARM] * (2 * WORKERS))
            start = time.perf_counter()
            gather(pool, durations)
            return (time.perf_counter() - start) / ideal

    return measured


def gather(pool: Pool, durations: list[float]) -> None:
    """One task each, and wait for all."""
    for handle in [pool.submit(nap, duration) for duration in durations]:
        pool.result(handle)


def slept_alone(durations: list[float]) -> float:
    """Seconds that plain processes need, each with its share: sleep() takes longer than it is asked to."""
    ordered = sorted(durations)
    start = time.perf_counter()
    children = []
    for number in range(WORKERS):
        child = os.fork()
        if child == 0:
            for duration in ordered[number::WORKERS]:
                time.sleep(duration)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return time.perf_counter() - start


CASE = Case(
    name="skew",
    title="Skewed mix, makespan over ideal",
    unit=Unit.RATIO,
    subjects={peer.label: makespan(peer) for peer in WITH_SUBMIT},
    size=SHORT_TASKS + LONG_TASKS,
    quick=SHORT_TASKS + LONG_TASKS,
    marks=(Mark("at most", 1.05), Mark("at most", 1, "concurrent.futures")),
    note=(
        f"{SHORT_TASKS} tasks of 1 ms and {LONG_TASKS} of 60 ms, asleep, shuffled, on {WORKERS} workers. "
        "The ideal is measured just before each: the same sleeps in plain processes, each with its half."
    ),
)
