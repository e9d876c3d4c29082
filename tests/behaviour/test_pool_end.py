"""The end of a Pool: close, terminate, join, with, garbage collection, the end of the program."""

from __future__ import annotations

import gc
import itertools
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from executor import Pool, WorkerLost
from tests import tasks
from tests.support import HANG, ROOT, Gate, wait_gone


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as pool:
        yield pool


CALLS: dict[str, Callable[[Pool], object]] = {
    "apply": lambda pool: pool.apply(tasks.square, (1,)),
    "apply_async": lambda pool: pool.apply_async(tasks.square, (1,)),
    "map": lambda pool: pool.map(tasks.square, [1]),
    "map_async": lambda pool: pool.map_async(tasks.square, [1]),
    "starmap": lambda pool: pool.starmap(tasks.add, [(1, 2)]),
    "starmap_async": lambda pool: pool.starmap_async(tasks.add, [(1, 2)]),
    "imap": lambda pool: pool.imap(tasks.square, [1]),
    "imap_unordered": lambda pool: pool.imap_unordered(tasks.square, [1]),
    "with": lambda pool: pool.__enter__(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_pool_that_has_ended_takes_no_work(call: str, end: str) -> None:
    pool = Pool(1)
    getattr(pool, end)()
    with pytest.raises(ValueError, match=r"^Pool not running$"):
        CALLS[call](pool)
    pool.join()


def test_a_running_pool_cannot_be_joined(pool: Pool) -> None:
    with pytest.raises(ValueError, match=r"^Pool is still running$"):
        pool.join()


def test_close_and_join_finish_the_work_and_the_workers(start_method: str) -> None:
    pool = Pool(2, context=start_method)
    pids = [pool.apply_async(tasks.pid) for _ in range(10)]
    numbers = pool.map_async(tasks.square, range(100), chunksize=1)
    pool.close()
    pool.close()
    pool.join()
    assert numbers.get(0) == [n * n for n in range(100)]
    wait_gone(*{pid.get(0) for pid in pids})
    pool.join()


def test_terminate_stops_what_runs_and_cancels_what_waits(start_method: str, gate: Gate) -> None:
    pool = Pool(2, context=start_method)
    running = [pool.apply_async(tasks.stop_at, (gate,)) for _ in range(2)]
    waiting = pool.map_async(tasks.square, range(1000), chunksize=1)
    pids = gate.wait_arrivals(2)
    pool.terminate()
    wait_gone(*pids)
    for result in running:
        with pytest.raises((WorkerLost, CancelledError)):
            result.get(HANG)
    with pytest.raises(CancelledError):
        waiting.get(HANG)
    assert not waiting.successful()
    pool.terminate()
    pool.join()


def test_the_end_of_with_terminates(gate: Gate) -> None:
    with Pool(1) as pool:
        result = pool.apply_async(tasks.stop_at, (gate,))
        (pid,) = gate.wait_arrivals()
    wait_gone(pid)
    with pytest.raises((WorkerLost, CancelledError)):
        result.get(HANG)


def test_a_task_that_ignores_sigterm_does_not_hold_up_terminate(gate: Gate) -> None:
    with Pool(1) as pool:
        pool.apply_async(ignore_sigterm, (gate,))
        (pid,) = gate.wait_arrivals()
    wait_gone(pid)


def ignore_sigterm(gate: Gate) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gate.stop()


@pytest.mark.parametrize("use", ["nothing", "call", "imap"])
def test_a_pool_that_is_dropped_leaves_nothing(use: str) -> None:
    # What is left, the fixture of all tests finds.
    pools = [Pool(2)]
    if use == "call":
        assert pools[0].apply(tasks.square, (2,)) == 4
    if use == "imap":
        assert next(pools[0].imap(tasks.same, itertools.count())) == 0
    dropped = weakref.ref(pools[0])
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        drop(pools)
    assert dropped() is None  # the recorded warning had kept it


def drop(things: list[Any]) -> None:
    things.clear()
    gc.collect()


def test_work_of_a_dropped_pool_is_finished() -> None:
    pools = [Pool(2)]
    results = [pools[0].apply_async(tasks.square, (n,)) for n in range(100)]
    with pytest.warns(ResourceWarning):
        drop(pools)
    assert [result.get(HANG) for result in results] == [n * n for n in range(100)]


def test_results_that_are_kept_do_not_keep_the_workers() -> None:
    pools = [Pool(1)]
    pid = pools[0].apply(tasks.pid)
    result, results = pools[0].apply_async(tasks.square, (2,)), pools[0].imap(tasks.square, [2])
    assert list(results) == [4]
    with pytest.warns(ResourceWarning):
        drop(pools)
    wait_gone(pid)
    assert result.get(HANG) == 4
    assert list(results) == []


def test_an_imap_keeps_its_pool_alive() -> None:
    results = [Pool(2).imap(tasks.same, range(100))]
    gc.collect()
    assert [next(results[0]) for _ in range(100)] == list(range(100))
    with pytest.warns(ResourceWarning):
        drop(results)


@pytest.mark.parametrize("start", ["pool.apply_async(time.sleep, (1000,))", "pool.imap(abs, itertools.count())"])
def test_a_pool_that_is_left_open_does_not_hold_up_the_end_of_the_program(start: str) -> None:
    program = f"""
import itertools, time, executor
if __name__ == "__main__":
    pool = executor.Pool(2)
    kept = {start}
    print(pool.map(abs, [-1, -2]), flush=True)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG, check=False, cwd=ROOT
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[1, 2]\n", "")


def test_a_program_may_end_with_a_pool_in_a_global() -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "import executor, operator; pool = executor.Pool(1); pool.map(operator.neg, [1])",
        ],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        cwd=ROOT,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
