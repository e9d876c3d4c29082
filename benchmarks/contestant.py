"""One pool in a storm. The arguments of its process: its label, the number of tasks, the seed, the journal.

Runs the tasks and says, in a line of JSON, what became of them; waits for a line, which comes when the storm
is over; says whether the pool still works. The killer is outside: benchmarks/storm.py.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks.peers import DEADPOOL, EXECUTOR, FUTURES, LOKY, MPIRE, PEBBLE, POOL, Opener, Pool
from benchmarks.probe import say
from benchmarks.tasks import same
from tests.stress.work import answer, durations, work

POOLS: dict[str, Opener] = {
    "executor": EXECUTOR.open,
    "executor, task_retries=50": partial(EXECUTOR.open, retries=50),
    **{peer.label: peer.open for peer in (FUTURES, POOL, LOKY, PEBBLE, DEADPOOL, MPIRE)},
}
STALLED = 10.0
"""Seconds without any new outcome after which the tasks still pending count as never resolved."""
USABLE_TASKS = 20


@dataclass(slots=True)
class Fate:
    """What became of the tasks, as their caller saw it."""

    right: int = 0
    failed: int = 0
    unresolved: int = 0
    seconds: float = 0.0


def take_part(label: str, tasks: int, seed: int, journal: str) -> None:
    """Run the tasks, say what became of them, and after the storm whether the pool still works."""
    pool = POOLS[label]()
    say(asdict(endure(pool, tasks, seed, journal)))
    sys.stdin.readline()
    say({"usable": usable(pool)})
    os._exit(0)


def endure(pool: Pool, tasks: int, seed: int, journal: str) -> Fate:
    """Submit all tasks and sort them by what became of each."""
    fate = Fate()
    start = time.monotonic()
    handles: dict[int, Any] = {}
    for task, seconds in enumerate(durations(tasks, seed)):
        try:
            handles[task] = pool.submit(work, journal, task, seconds)
        except Exception:  # a broken pool refuses new work
            fate.failed += 1
    wait_until_stalled(pool, list(handles.values()))
    fate.seconds = time.monotonic() - start
    for task, handle in handles.items():
        if not pool.done(handle):
            fate.unresolved += 1
        elif outcome(pool, handle) == answer(task):
            fate.right += 1
        else:
            fate.failed += 1
    return fate


def wait_until_stalled(pool: Pool, waiting: list[Any]) -> None:
    """Return when all are done, or when for a long time none has been added to those that are."""
    changed = time.monotonic()
    while waiting and time.monotonic() - changed < STALLED:
        time.sleep(0.05)
        still = [handle for handle in waiting if not pool.done(handle)]
        if len(still) < len(waiting):
            waiting, changed = still, time.monotonic()


def outcome(pool: Pool, handle: Any) -> Any:
    """The result, or the error."""
    try:
        return pool.result(handle)
    except BaseException as error:
        return error


def usable(pool: Pool) -> bool:
    """Whether new tasks get their right results."""
    try:
        handles = [pool.submit(same, number) for number in range(USABLE_TASKS)]
    except Exception:
        return False
    wait_until_stalled(pool, handles)
    return all(pool.done(handle) and outcome(pool, handle) == number for number, handle in enumerate(handles))


def main() -> None:
    """The process of one pool."""
    label, tasks, seed, journal = sys.argv[1:]
    try:
        take_part(label, int(tasks), int(seed), journal)
    except ModuleNotFoundError as error:
        say({"absent": f"{error.name} is not installed"})
