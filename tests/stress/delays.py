"""A stress of leases where delays fall anywhere: no task runs twice, whatever the moments at which the two sides look.

What a worker and its parent write and read on the status page is only right if every order of these steps is. Most
orders never come about by themselves, so both sides run under a trace function that now and then sleeps between two
lines of the files that keep the protocol. By hand, long::

    python tests/stress/delays.py --rounds 50
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

if __name__ == "__main__":  # started by hand: the folder of this file is on the path, its project is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from executor import ProcessPoolExecutor, TaskTimeout, WorkerLost
from tests.stress.journal import BEGAN, by_task, note, read
from tests.stress.work import answer, work

PARENT = ("_worker.py", "_revocation.py", "_watch.py")
WORKER = ("_worker_main.py",)
ODDS = 0.01  # of a delay at a line
DELAYS = (0.0002, 0.0015, 0.004)  # seconds: less than a pause of the protocol, more than one, more than "stuck"
ITEMS = 400
CHUNK = 25
LONG = 0.1  # how many of the items are
LIMIT = 0.5  # seconds; with all delays only what is meant to comes near it


class Delays:
    """A trace function."""

    def __init__(self, files: tuple[str, ...], seed: int) -> None:
        self._files = files
        self._random = random.Random(seed)

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename.endswith(self._files) else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line" and self._random.random() < ODDS:
            time.sleep(self._random.choice(DELAYS))
        return self._line


def delay_worker(seed: int) -> None:
    """The initializer."""
    sys.settrace(Delays(WORKER, seed))


@contextlib.contextmanager
def delayed_parent(seed: int) -> Iterator[None]:
    """This thread and those that start meanwhile."""
    delays = Delays(PARENT, seed)
    before = sys.gettrace()
    threading.settrace(delays)
    sys.settrace(delays)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]  # typeshed: None is allowed


def run_map(pool: ProcessPoolExecutor, journal: str, seconds: list[float], source: random.Random) -> set[int]:
    """Items of a map in chunks; which of them are not to have run to their end: none."""
    results = pool.map(work, itertools.repeat(journal), range(ITEMS), seconds, chunksize=CHUNK)
    assert list(results) == [answer(item) for item in range(ITEMS)]
    return set()


def run_timed_map(pool: ProcessPoolExecutor, journal: str, seconds: list[float], source: random.Random) -> set[int]:
    """The same where each item has a time limit, and three go over it."""
    late = set(source.sample(range(ITEMS), 3))
    for item in late:
        seconds[item] = 60.0
    limited = pool.options(timeout=LIMIT)
    results = limited.map(
        work, itertools.repeat(journal), range(ITEMS), seconds, chunksize=CHUNK, return_exceptions=True
    )
    for item, result in enumerate(results):
        assert isinstance(result, TaskTimeout) if item in late else result == answer(item), f"item {item}: {result!r}"
    return late


def run_calls(pool: ProcessPoolExecutor, journal: str, seconds: list[float], source: random.Random) -> set[int]:
    """Calls, of which some are cancelled at some moment, though they run."""
    stoppable = pool.options(cancel_running=True)
    futures = []
    for item in range(ITEMS):
        futures.append((stoppable if item % 4 == 0 else pool).submit(work, journal, item, seconds[item]))
        if source.random() < 0.02:
            source.choice(futures).cancel()
    for item, future in enumerate(futures):
        assert future.cancelled() or future.result() == answer(item), f"call {item}: {future!r}"
    return {item for item, future in enumerate(futures) if future.cancelled()}


def work_or_die(journal: str, item: int, seconds: float) -> int:
    """As `work`, but for those that kill their worker."""
    if seconds < 0:
        note(journal, BEGAN, item)
        os.kill(os.getpid(), signal.SIGKILL)
    return work(journal, item, seconds)


def run_deaths(pool: ProcessPoolExecutor, journal: str, seconds: list[float], source: random.Random) -> set[int]:
    """Items of a map in chunks, of which some kill their worker."""
    doomed = set(source.sample(range(ITEMS), 6))
    for item in doomed:
        seconds[item] = -1.0
    results = pool.map(
        work_or_die, itertools.repeat(journal), range(ITEMS), seconds, chunksize=CHUNK, return_exceptions=True
    )
    for item, result in enumerate(results):
        assert isinstance(result, WorkerLost) if item in doomed else result == answer(item), f"item {item}: {result!r}"
    return set()


KINDS = {"map": run_map, "timed map": run_timed_map, "calls": run_calls, "deaths": run_deaths}


def problems(kind: str, seed: int, folder: str, method: str | None = None) -> list[str]:
    """Some of the items are long, and workers are often new; what went wrong."""
    source = random.Random(seed)
    seconds = [source.uniform(0.002, 0.02) if source.random() < LONG else 0.0 for _ in range(ITEMS)]
    journal = str(Path(folder) / f"{kind}-{seed}")
    with (
        delayed_parent(seed),
        ProcessPoolExecutor(2, method, delay_worker, (seed,), max_tasks_per_child=3 * CHUNK) as pool,
    ):
        try:
            stopped = KINDS[kind](pool, journal, seconds, source)
        except Exception as error:  # whatever it is
            return [repr(error)]
    found = []
    histories = by_task(read(journal))
    for item in range(ITEMS):
        began = histories[item].began if item in histories else []
        if len(began) > 1 or (not began and item not in stopped):
            found.append(f"{item} began in {began}")
    return found


def main() -> int:
    """0 when every round was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default=None)
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed, kind in itertools.product(range(options.seed, options.seed + options.rounds), KINDS):
            found = problems(kind, seed, folder, options.method)
            wrong += bool(found)
            print(f"{kind}, seed {seed}: {found[:3] or 'right'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
