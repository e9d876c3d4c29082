"""A task whose worker was lost runs again, as often as it may."""

from __future__ import annotations

import operator
import signal
from pathlib import Path

import pytest

from executor import Attempt, MemoryQuotaExceeded, ProcessPoolExecutor, TaskTimeout, WorkerLost
from tests import deaths, limits
from tests.limits import MB
from tests.support import HANG, Gate, kill, new_gate


@pytest.mark.parametrize("how", ["SIGKILL", "exit-0", "segfault"])
def test_a_task_whose_worker_was_lost_runs_again(start_method: str, how: str, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, task_retries=1) as pool:
        assert pool.submit(deaths.die_once, how, str(tmp_path / "flag")).result(HANG) == "alive"
        assert pool.stats().retried == 1


def test_as_often_as_it_may_and_no_more(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        task = pool.options(retries=2).submit(limits.count_attempts_and_die, gate, 100)
        others = [pool.submit(operator.neg, i) for i in range(20)]
        error = task.exception(HANG)
        pids = gate.wait_arrivals(3)
        assert [note for _, note in gate.arrivals()] == ["1", "2", "3"]
        assert isinstance(error, WorkerLost)
        assert [attempt.pid for attempt in error.attempts] == pids
        assert len(set(pids)) == 3
        for attempt in error.attempts:
            assert isinstance(attempt, Attempt)
            assert "SIGKILL" in attempt.cause
            assert str(attempt.pid) in str(error)
        assert "count_attempts_and_die" in str(error)
        # A task that kills every worker it meets does not take the pool down.
        assert [f.result(HANG) for f in others] == [-i for i in range(20)]
        assert pool.stats().retried == 2


def test_the_last_attempt_may_succeed(gate: Gate) -> None:
    with ProcessPoolExecutor(1, task_retries=3) as pool:
        assert pool.submit(limits.count_attempts_and_die, gate, 3).result(HANG) == 4


def test_without_retries_there_is_one_attempt(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(limits.count_attempts_and_die, gate, 100).exception(HANG)
        assert isinstance(error, WorkerLost)
        assert [attempt.pid for attempt in error.attempts] == gate.wait_arrivals()
    assert len(gate.arrivals()) == 1


def test_it_runs_again_before_what_was_submitted_later(tmp_path: Path) -> None:
    order, flag = new_gate(tmp_path), str(tmp_path / "flag")
    with ProcessPoolExecutor(1, task_retries=1) as pool:
        hold = new_gate(tmp_path)
        first = pool.submit(hold.stop)
        hold.wait_arrivals()
        victim = pool.submit(deaths.arrive_and_die_once, order, flag)
        behind = [pool.submit(order.arrive, str(i)) for i in range(5)]
        hold.open()
        assert first.result(HANG) is None
        assert victim.result(HANG) == "alive"
        assert [f.result(HANG) for f in behind] == [None] * 5
    assert [note for _, note in order.arrivals()] == ["victim", "victim", "0", "1", "2", "3", "4"]


def test_never_after_an_exception_of_its_own(gate: Gate) -> None:
    with ProcessPoolExecutor(1, task_retries=5) as pool, pytest.raises(ValueError, match="its own"):
        pool.submit(limits.arrive_and_raise, gate).result(HANG)
    assert len(gate.arrivals()) == 1


def test_never_after_a_timeout(gate: Gate) -> None:
    with ProcessPoolExecutor(1, task_retries=5, task_timeout=0.3) as pool:
        assert isinstance(pool.submit(limits.arrive_and_hang, gate).exception(HANG), TaskTimeout)
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert len(gate.arrivals()) == 1


def test_after_a_timeout_too_when_asked_for(gate: Gate) -> None:
    with ProcessPoolExecutor(1, task_retries=1, task_timeout=0.5, retry_on_timeout=True) as pool:
        assert pool.submit(limits.hang_on_first_attempt, gate).result(HANG) == "second time"
    assert len(gate.arrivals()) == 2


def test_the_last_timeout_is_told(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        limited = pool.options(retries=2, timeout=0.3, retry_on_timeout=True)
        assert isinstance(limited.submit(limits.arrive_and_hang, gate).exception(HANG), TaskTimeout)
    assert len(gate.arrivals()) == 3


def test_after_too_much_memory(gate: Gate) -> None:
    with ProcessPoolExecutor(1, task_retries=1, max_memory_per_child="200MB") as pool:
        error = pool.submit(limits.arrive_and_grow, gate, 5000 * MB).exception(HANG)
        assert isinstance(error, MemoryQuotaExceeded)
        assert [attempt.pid for attempt in error.attempts] == gate.wait_arrivals(2)
    assert len(gate.arrivals()) == 2


def test_each_item_of_a_map(start_method: str, tmp_path: Path) -> None:
    flags = [str(tmp_path / f"flag-{i}") for i in range(4)]
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        results = pool.options(retries=1).map(deaths.die_once, ["exit-7"] * 4, flags, timeout=HANG)
        assert list(results) == ["alive"] * 4


def test_each_item_of_a_chunk(tmp_path: Path) -> None:
    flags = [str(tmp_path / f"flag-{i}") for i in range(4)]
    with ProcessPoolExecutor(1) as pool:
        results = pool.options(retries=1).map(deaths.die_once, ["exit-7"] * 4, flags, timeout=HANG, chunksize=4)
        assert list(results) == ["alive"] * 4


def test_tasks_that_only_waited_behind_it_have_no_attempt_counted(gate: Gate) -> None:
    """They were leased to the worker that died and had not begun: that is no attempt of theirs."""
    with ProcessPoolExecutor(1) as pool:
        assert len(list(pool.map(operator.neg, range(300), timeout=HANG))) == 300
        victim = pool.submit(gate.stop)
        (pid,) = gate.wait_arrivals()
        behind = [pool.submit(limits.what) for _ in range(20)]
        kill(pid)
        assert isinstance(victim.exception(HANG), WorkerLost)
        assert [f.result(HANG)[1] for f in behind] == [1] * 20


def test_killed_from_outside_while_it_runs(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, task_retries=1) as pool:
        future = pool.submit(gate.stop)
        (first,) = gate.wait_arrivals(1)
        kill(first, signal.SIGKILL)
        _, second = gate.wait_arrivals(2)
        gate.open()
        assert future.result(HANG) is None
        assert first != second


def test_deaths_that_a_task_explains_do_not_count_against_the_pool() -> None:
    """Three times the default limit of unexplained deaths, one after the other."""
    with ProcessPoolExecutor(1) as pool:
        for _ in range(18):
            assert isinstance(pool.submit(deaths.die, "exit-7").exception(HANG), WorkerLost)
        assert pool.submit(operator.neg, 1).result(HANG) == -1
