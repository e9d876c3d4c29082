"""Idle workers that are killed just before a submit cost nothing at all."""

from __future__ import annotations

import operator
import os
import signal
from concurrent.futures import as_completed

from executor import ProcessPoolExecutor, WorkerLost
from tests import deaths
from tests.support import HANG, Gate, kill, wait_gone


def workers_of(pool: ProcessPoolExecutor, gate: Gate, count: int) -> list[int]:
    """The pids of ``count`` workers, all idle again."""
    futures = [pool.submit(gate.stop) for _ in range(count)]
    pids = gate.wait_arrivals(count)
    gate.open()
    assert [f.result(HANG) for f in futures] == [None] * count
    return pids


def test_all_idle_workers_killed_and_gone_before_the_submit(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        pids = workers_of(pool, gate, 2)
        for pid in pids:
            kill(pid)
        wait_gone(*pids)
        assert list(pool.map(operator.neg, range(10), timeout=HANG)) == [-i for i in range(10)]


def test_submits_that_race_with_the_kill_of_idle_workers(start_method: str) -> None:
    # SIGKILL cannot be put off: a worker that was sent one before the submit begins nothing any more.
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        for _ in range(5):
            pid = pool.submit(os.getpid).result(HANG)
            kill(pid)
            futures = [pool.submit(operator.neg, i) for i in range(5)]
            assert [f.result(HANG) for f in futures] == [-i for i in range(5)]


def test_tasks_leased_to_a_dead_worker_but_not_begun_run_elsewhere(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        # Many tiny tasks first, so that the worker is trusted with several at once.
        assert sum(pool.map(operator.neg, range(300), timeout=HANG)) == -sum(range(300))
        running = pool.submit(gate.stop)
        (pid,) = gate.wait_arrivals()
        behind = [pool.submit(operator.neg, i) for i in range(100)]
        kill(pid)
        assert isinstance(running.exception(HANG), WorkerLost)
        assert [f.result(HANG) for f in behind] == [-i for i in range(100)]


def test_each_task_that_kills_its_worker_fails_and_the_others_succeed(start_method: str) -> None:
    killers = {3, 10, 11, 25, 39}
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        futures = {}
        for i in range(40):
            call = (deaths.die, "SIGKILL") if i in killers else (operator.neg, i)
            futures[pool.submit(*call)] = i
        for future in as_completed(futures, HANG):
            i = futures[future]
            if i in killers:
                assert isinstance(future.exception(), WorkerLost)
            else:
                assert future.result() == -i


def test_outcomes_sent_before_a_death_are_read_first(start_method: str, gate: Gate) -> None:
    # The parent is frozen while the worker finishes its tasks, sits idle, and is killed.
    from tests.support import kill_when_stuck_while_parent_is_frozen

    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        future = pool.submit(deaths.stop_and_neg, gate, 5)
        (pid,) = gate.wait_arrivals()
        gate.open()
        kill_when_stuck_while_parent_is_frozen(pid)
        assert future.result(HANG) == -5
        assert pool.submit(operator.neg, 6).result(HANG) == -6


def test_a_worker_that_ignores_sigterm_and_is_killed(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        future = pool.submit(deaths.ignore_sigterm_and_stop, gate)
        (pid,) = gate.wait_arrivals()
        kill(pid, signal.SIGTERM)
        kill(pid)
        lost = future.exception(HANG)
        assert isinstance(lost, WorkerLost)
        assert lost.signal_name == "SIGKILL"
