"""Looking: stats(), current_worker(), current_task(), worker_stacks()."""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import os
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor, Stats, WorkerLost, current_task, current_worker, wait
from tests import deaths, limits
from tests.support import HANG, Gate, eventually, kill, new_gate


def test_the_counters(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        good = [pool.submit(operator.neg, i) for i in range(3)]
        bad = pool.submit(deaths.divide, 1, 0)
        lost = pool.submit(deaths.die, "exit-7")
        assert wait([*good, bad, lost], HANG).not_done == set()
        running = pool.submit(gate.stop)
        gate.wait_arrivals()
        waiting = [pool.submit(operator.neg, i) for i in range(4)]
        assert waiting[0].cancel()
        stats = pool.stats()
        assert stats.submitted == 10
        assert stats.done == 3
        assert stats.failed == 2
        assert stats.cancelled == 1
        assert stats.running == 1
        assert stats.pending == 3
        assert stats.retried == 0
        assert sum(stats.restarts.values()) == 1
        gate.open()
        assert wait([running, *waiting[1:]], HANG).not_done == set()
        stats = pool.stats()
        assert (stats.done, stats.failed, stats.cancelled) == (7, 2, 1)
        assert (stats.pending, stats.running) == (0, 0)


def test_one_row_for_each_worker(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        future = pool.options(name="the long one").submit(limits.stop_and_where, gate)
        (pid,) = gate.wait_arrivals()
        other = pool.submit(operator.neg, 2)
        assert other.result(HANG) == -2
        rows = {row.pid: row for row in pool.stats().workers}
        busy = rows[pid]
        assert busy.state == "BUSY"
        assert busy.task == "the long one"
        assert busy.task_seconds >= 0
        assert busy.age > 0
        assert busy.memory > 1_000_000
        idle = [row for row in rows.values() if row.pid != pid]
        assert all((row.state, row.task) == ("IDLE", None) for row in idle)
        assert sum(row.tasks_done for row in rows.values()) == 2
        before = busy.task_seconds
        eventually(lambda: next(r for r in pool.stats().workers if r.pid == pid).task_seconds > before)
        gate.open()
        assert future.result(HANG) == (busy.id, busy.slot, busy.name, pid)


def test_it_is_a_snapshot(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        before = pool.stats()
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        assert isinstance(before, Stats)
        assert (before.submitted, before.workers) == (0, ())
        after = pool.stats()
        for snapshot, name in ((after, "done"), (after.workers[0], "pid")):
            with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
                setattr(snapshot, name, 7)
        with contextlib.suppress(TypeError):
            after.restarts["died"] = 3
        assert pool.stats().restarts == {}


def test_it_answers_before_the_first_task_and_after_the_last() -> None:
    pool = ProcessPoolExecutor(1)
    assert pool.stats().submitted == 0
    pool.submit(operator.neg, 1).result(HANG)
    pool.shutdown()
    assert (pool.stats().done, pool.stats().workers) == (1, ())


def test_restarts_by_reason(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        kill(pid)
        pool.submit(operator.neg, 1).result(HANG)
        reasons = pool.stats().restarts
        assert sum(reasons.values()) == 1
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:
        for i in range(3):
            pool.submit(operator.neg, i).result(HANG)
        eventually(lambda: pool.stats().restarts.get("max_tasks_per_child", 0) >= 2)
        assert set(pool.stats().restarts) == {"max_tasks_per_child"}


# --- in a task ----------------------------------------------------------------------------------------------


def test_slots_count_from_zero_and_a_replacement_takes_the_free_one(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(3, mp_context=start_method) as pool:
        futures = [pool.submit(limits.stop_and_where, gate) for _ in range(3)]
        gate.wait_arrivals(3)
        gate.open()
        places = [f.result(HANG) for f in futures]
        assert sorted(slot for _, slot, _, _ in places) == [0, 1, 2]
        assert len({id_ for id_, _, _, _ in places}) == 3
        pid = places[1][3]
        kill(pid)
        eventually(lambda: pid not in [w.pid for w in pool.stats().workers])
        again = new_gate(Path(gate.directory).parent)
        futures = [pool.submit(limits.stop_and_where, again) for _ in range(3)]
        again.wait_arrivals(3)
        again.open()
        places = [f.result(HANG) for f in futures]
        assert sorted(slot for _, slot, _, _ in places) == [0, 1, 2]
        assert [p for p in places if p[3] == pid] == []


def test_no_two_live_workers_share_a_slot(start_method: str, tmp_path: Path) -> None:
    """Each worker holds a lock on its slot until its process is gone, as it would hold a port."""
    with ProcessPoolExecutor(2, mp_context=start_method, max_tasks_per_child=3) as pool:
        futures = [pool.submit(limits.use_slot_alone, str(tmp_path)) for _ in range(9)]
        killers = [pool.submit(deaths.die, "SIGKILL") for _ in range(2)]
        futures += [pool.submit(limits.use_slot_alone, str(tmp_path)) for _ in range(9)]
        assert all(f.result(HANG) for f in futures)
        assert all(isinstance(f.exception(HANG), WorkerLost) for f in killers)
    assert {path.name for path in tmp_path.iterdir()} <= {"slot-0", "slot-1"}


def test_elsewhere_there_is_no_worker_and_no_task() -> None:
    assert current_worker() is None
    assert current_task() is None


def test_a_task_knows_its_name_and_attempt(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(limits.what).result(HANG) == ("tests.limits.what", 1)
        assert pool.options(name="mine").submit(limits.what).result(HANG) == ("mine", 1)
        assert list(pool.map(deaths.call, [limits.what] * 3)) == [("tests.deaths.call", 1)] * 3


def test_a_nested_executor_has_workers_of_its_own() -> None:
    with ProcessPoolExecutor(1) as pool:
        outer, inner = pool.submit(deaths.where_outside_and_in).result(HANG)
    assert outer[3] != inner[3]


# --- stacks -------------------------------------------------------------------------------------------------


def test_the_stack_of_every_worker_without_stopping_it(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        busy = pool.submit(limits.in_a_busy_function, gate)
        (pid,) = gate.wait_arrivals()
        pool.submit(operator.neg, 1).result(HANG)
        eventually(lambda: {w.state for w in pool.stats().workers} == {"BUSY", "IDLE"})
        names = {w.pid: w.name for w in pool.stats().workers}
        for _ in range(3):
            stacks = pool.worker_stacks(HANG)
            assert set(stacks) == set(names.values())
            assert "in_a_busy_function" in stacks[names[pid]]
        gate.open()
        assert busy.result(HANG) is None
        assert {w.pid for w in pool.stats().workers} == set(names)


def test_the_stack_of_a_worker_in_c_code_that_keeps_the_gil(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.options(cancel_running=True).submit(deaths.arrive_and_hold_gil, gate, 600)
        gate.wait_arrivals()
        eventually(lambda: "in hold_gil" in "".join(pool.worker_stacks().values()))
        pool.kill_workers()


def test_a_worker_that_is_stopped_does_not_hold_up_the_others(gate: Gate) -> None:
    import signal

    from tests.support import wait_stopped

    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(gate.stop) for _ in range(2)]
        stopped, other = gate.wait_arrivals(2)
        names = {w.pid: w.name for w in pool.stats().workers}
        os.kill(stopped, signal.SIGSTOP)
        wait_stopped(stopped)
        stacks = pool.worker_stacks(timeout=0.2)
        assert "in stop" in stacks[names[other]]
        os.kill(stopped, signal.SIGCONT)
        gate.open()
        assert [f.result(HANG) for f in futures] == [None, None]


def test_no_worker_no_stack() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.worker_stacks() == {}
