"""Quotas of a worker: tasks, age, memory.  A worker that reaches one is replaced, and only it is."""

from __future__ import annotations

import operator
import os
from collections import Counter
from pathlib import Path

import pytest

from executor import MemoryQuotaExceeded, ProcessPoolExecutor, WorkerLost
from tests import deaths, limits
from tests.limits import MB
from tests.support import HANG, Gate, eventually, kill, new_gate, wait_gone

# --- tasks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quota", [1, 3])
def test_a_worker_runs_as_many_tasks_as_it_may(start_method: str, quota: int) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, max_tasks_per_child=quota) as pool:
        pids = [f.result(HANG) for f in [pool.submit(os.getpid) for _ in range(4 * quota)]]
    assert [pids[i : i + quota] for i in range(0, 4 * quota, quota)] == [[p] * quota for p in pids[::quota]]
    assert len(set(pids)) == 4


def test_the_items_of_a_map_count_each(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, max_tasks_per_child=10) as pool:
        pids = list(pool.map(deaths.pid_of, range(60), timeout=HANG))
    assert max(Counter(pids).values()) <= 10
    assert len(set(pids)) >= 6


def test_items_that_are_taken_back_do_not_count() -> None:
    """A worker is seen to be stuck after some milliseconds; what it skips then is another's."""
    with ProcessPoolExecutor(2, max_tasks_per_child=100) as pool:
        pauses = ([0.0] * 20 + [0.0037]) * 50
        pids = list(pool.map(limits.pause_and_pid, pauses, timeout=HANG))
    assert max(Counter(pids).values()) <= 100
    assert len(pids) == len(pauses)


def test_a_run_of_items_whose_function_cannot_be_loaded_counts_whole() -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=10) as pool:
        bad = pool.map(limits.LoadsOnce(os.getpid()), range(30), chunksize=10, timeout=HANG, return_exceptions=True)
        assert {type(error) for error in bad} == {ImportError}
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_tasks_that_fail_count_too() -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=2) as pool:
        first = pool.submit(os.getpid).result(HANG)
        assert isinstance(pool.submit(deaths.divide, 1, 0).exception(HANG), ZeroDivisionError)
        assert pool.submit(os.getpid).result(HANG) != first


def test_items_that_cannot_be_run_leave_no_worker_waiting() -> None:
    """One error is the outcome of five items; the worker is not to be taken for one that has used its quota up."""
    with ProcessPoolExecutor(1, max_tasks_per_child=10) as pool:
        function = deaths.RaisesOnLoad(OSError, "cannot be loaded")
        errors = list(pool.map(function, range(20), chunksize=5, timeout=HANG, return_exceptions=True))
        assert [type(error) for error in errors] == [OSError] * 20
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_one_submit_after_the_other(start_method: str) -> None:
    """The worker is idle, and over its quota, whenever the next task comes."""
    with ProcessPoolExecutor(2, mp_context=start_method, max_tasks_per_child=1) as pool:
        pids = [pool.submit(os.getpid).result(HANG) for _ in range(6)]
    assert len(set(pids)) == 6


@pytest.mark.parametrize("quota", [1, 2, 3, 5, 7])
def test_more_tasks_than_all_workers_may_run(quota: int) -> None:
    """The standard pool hangs when the quota and the number of workers do not fit each other."""
    with ProcessPoolExecutor(3, max_tasks_per_child=quota) as pool:
        futures = [pool.submit(operator.neg, i) for i in range(30)]
        assert [f.result(HANG) for f in futures] == [-i for i in range(30)]


def test_the_successor_starts_before_its_predecessor_retires(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, max_tasks_per_child=2) as pool:
        first = pool.submit(os.getpid).result(HANG)
        last = pool.submit(limits.stop_and_pid, gate)
        behind = pool.submit(os.getpid)
        gate.wait_arrivals()
        eventually(lambda: len(pool.stats().workers) == 2)
        assert not behind.done()
        gate.open()
        assert last.result(HANG) == first
        assert behind.result(HANG) != first


def test_retiring_is_counted_by_its_reason() -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:
        assert [pool.submit(operator.neg, i).result(HANG) for i in range(3)] == [0, -1, -2]
        eventually(lambda: pool.stats().restarts.get("max_tasks_per_child", 0) >= 2)


# --- the finalizer ------------------------------------------------------------------------------------------


def test_the_finalizer_runs_in_each_worker_that_retires(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, max_tasks_per_child=2, finalizer=gate.arrive) as pool:
        pids = [pool.submit(os.getpid).result(HANG) for _ in range(5)]
    assert sorted(pid for pid, _ in gate.arrivals()) == sorted(set(pids))


def test_the_finalizer_does_not_run_in_a_worker_that_is_killed(gate: Gate, tmp_path: Path) -> None:
    stop = new_gate(tmp_path)
    with ProcessPoolExecutor(1, finalizer=gate.arrive) as pool:
        victim = pool.submit(stop.stop)
        (killed,) = stop.wait_arrivals()
        kill(killed)
        assert isinstance(victim.exception(HANG), WorkerLost)
        survivor = pool.submit(os.getpid).result(HANG)
    assert [pid for pid, _ in gate.arrivals()] == [survivor]


def test_a_finalizer_that_raises_or_dies_harms_nothing() -> None:
    for finalizer in (deaths.divide_by_zero, deaths.exit_7):
        with ProcessPoolExecutor(1, max_tasks_per_child=1, finalizer=finalizer) as pool:
            assert [pool.submit(operator.neg, i).result(HANG) for i in range(4)] == [0, -1, -2, -3]


# --- age ----------------------------------------------------------------------------------------------------


def test_a_worker_past_its_age_is_replaced(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, max_age_per_child=0.2) as pool:
        first = pool.submit(os.getpid).result(HANG)
        # Idle, too: it goes without being asked for anything.
        wait_gone(first)
        assert pool.submit(os.getpid).result(HANG) != first


def age_of(pid: int, pool: ProcessPoolExecutor) -> float:
    return next(worker.age for worker in pool.stats().workers if worker.pid == pid)


def test_age_ends_no_task(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, max_age_per_child=0.2) as pool:
        first = pool.submit(limits.stop_and_pid, gate)
        (pid,) = gate.wait_arrivals()
        began = age_of(pid, pool)
        eventually(lambda: age_of(pid, pool) - began > 0.3)
        second = pool.submit(os.getpid)
        gate.open()
        assert first.result(HANG) == pid
        assert second.result(HANG) != pid


# --- memory -------------------------------------------------------------------------------------------------


def test_a_task_that_takes_too_much_memory_is_ended(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, max_memory_per_child="250MB") as pool:
        neighbour = pool.submit(limits.stop_and_pid, gate)
        (other,) = gate.wait_arrivals()
        hog = pool.submit(limits.grow, 5 * MB, 5000 * MB)
        error = hog.exception(HANG)
        assert isinstance(error, MemoryQuotaExceeded)
        assert isinstance(error, WorkerLost)
        assert error.limit == 250 * MB
        # Looked at often enough, it has not gone far beyond.
        assert error.limit < error.resident < 2000 * MB
        assert error.peak_memory is not None
        assert error.peak_memory >= error.resident
        assert error.pid not in (0, other)
        assert "grow" in str(error.task)
        assert "250,000,000" in str(error)
        gate.open()
        assert neighbour.result(HANG) == other
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_a_worker_that_grows_while_it_is_idle_retires(start_method: str, gate: Gate, tmp_path: Path) -> None:
    finalized = new_gate(tmp_path)
    with ProcessPoolExecutor(
        1, mp_context=start_method, max_memory_per_child=250 * MB, finalizer=finalized.arrive
    ) as pool:
        pid = pool.submit(limits.keep_memory_later, 300 * MB, gate).result(HANG)
        gate.open()
        eventually(lambda: gate.arrivals() or finalized.arrivals())
        # Nothing runs, so nothing is lost: the next task finds it over its quota, or it has gone before.
        assert pool.submit(operator.neg, 1).exception(HANG) is None
        eventually(lambda: pool.submit(os.getpid).result(HANG) != pid)
        assert pid in [pid for pid, _ in finalized.arrivals()]
        assert pool.stats().failed == 0


def test_a_peak_that_has_passed_is_not_held_against_a_worker(start_method: str) -> None:
    with ProcessPoolExecutor(
        1,
        mp_context=start_method,
        max_memory_per_child="250MB",
        initializer=limits.take_and_give_back,
        initargs=(300 * MB,),
    ) as pool:
        assert len({pool.submit(os.getpid).result(HANG) for _ in range(30)}) == 1


@pytest.mark.parametrize(("given", "limit"), [("0.5GiB", 2**29), ("512MB", 512 * MB), (300 * MB, 300 * MB)])
def test_how_a_size_is_written(given: str | int, limit: int) -> None:
    with ProcessPoolExecutor(1, max_memory_per_child=given) as pool:
        error = pool.submit(limits.grow, 50 * MB, 5000 * MB).exception(HANG)
    assert isinstance(error, MemoryQuotaExceeded)
    assert error.limit == limit


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_tasks_per_child": 0}, ValueError),
        ({"max_tasks_per_child": 1.5}, TypeError),
        ({"max_memory_per_child": "much"}, ValueError),
        ({"max_memory_per_child": 0}, ValueError),
        ({"max_memory_per_child": 1.5}, TypeError),
        ({"max_age_per_child": 0}, ValueError),
        ({"max_age_per_child": "1"}, TypeError),
        ({"task_timeout": -1}, ValueError),
        ({"task_retries": -1}, ValueError),
        ({"min_workers": 2}, ValueError),
        ({"idle_timeout": 0}, ValueError),
        ({"finalizer": 1}, TypeError),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(arguments)).removeprefix("task_")):
        ProcessPoolExecutor(1, **arguments)  # type: ignore[arg-type]
