"""Time limits of tasks: counted from their beginning, enforced by the parent."""

from __future__ import annotations

import importlib
import operator
import os
import pickle
import sys
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor, SoftTimeout, TaskTimeout, WorkerLost
from tests import deaths, limits
from tests.support import HANG, Gate, wait_gone

SHORT = 0.4  # seconds; long enough for a task to arrive, even on a busy machine


# The import would be a task's own time: on a busy machine as long as its limit.
IMPORTS = importlib.import_module, ("tests.limits",)


def test_a_task_that_runs_too_long_is_ended(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, start_method, *IMPORTS, task_timeout=SHORT) as pool:
        late = pool.submit(limits.arrive_and_hang, gate)
        behind = [pool.submit(operator.neg, i) for i in range(5)]
        error = late.exception(HANG)
        (pid,) = gate.wait_arrivals()
        assert isinstance(error, TaskTimeout)
        assert isinstance(error, TimeoutError)
        assert not isinstance(error, WorkerLost)
        assert (error.timeout, error.pid) == (SHORT, pid)
        assert "arrive_and_hang" in error.task
        assert "in arrive_and_hang" in error.stack
        for fact in ("arrive_and_hang", str(pid), "0.4"):
            assert fact in str(error)
        assert [f.result(HANG) for f in behind] == [0, -1, -2, -3, -4]
    wait_gone(pid)


def test_c_code_that_keeps_the_gil_cannot_escape(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, task_timeout=SHORT) as pool:
        error = pool.submit(deaths.hold_gil, 600).exception(HANG)
        assert isinstance(error, TaskTimeout)
        assert "in hold_gil" in error.stack
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_a_task_deaf_to_every_signal_cannot_escape(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        late = pool.options(timeout=SHORT).submit(limits.deaf_hang, gate)
        assert isinstance(late.exception(HANG), TaskTimeout)
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_a_task_that_hangs_while_it_is_loaded_or_its_outcome_pickled(gate: Gate) -> None:
    with ProcessPoolExecutor(2, task_timeout=SHORT) as pool:
        loading = pool.submit(id, deaths.HangsOnLoad(gate))
        pickling = pool.submit(deaths.make_hangs_on_dump, gate)
        assert isinstance(loading.exception(HANG), TaskTimeout)
        assert isinstance(pickling.exception(HANG), TaskTimeout)
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_the_clock_starts_when_the_task_begins(gate: Gate) -> None:
    # All are submitted at once.  By the time the last one begins, three limits have passed.
    with ProcessPoolExecutor(1) as pool:
        limited = pool.options(timeout=SHORT)
        late = [limited.submit(limits.arrive_and_hang, gate) for _ in range(3)]
        last = limited.submit(operator.neg, 1)
        assert last.result(HANG) == -1
        assert all(isinstance(f.exception(HANG), TaskTimeout) for f in late)


def test_ten_deaf_tasks_due_at_once_on_two_workers(gate: Gate) -> None:
    with ProcessPoolExecutor(2, task_timeout=SHORT) as pool:
        futures = [pool.submit(limits.deaf_hang, gate) for _ in range(10)]
        errors = [f.exception(HANG) for f in futures]
    assert all(isinstance(e, TaskTimeout) for e in errors)


def test_the_limit_of_one_task_is_not_that_of_another(gate: Gate) -> None:
    with ProcessPoolExecutor(2, task_timeout=600) as pool:
        free = pool.options(timeout=None).submit(gate.stop)
        gate.wait_arrivals()
        late = pool.options(timeout=SHORT).submit(deaths.hang)
        assert isinstance(late.exception(HANG), TaskTimeout)
        assert free.running()
        gate.open()
        assert free.result(HANG) is None


def test_each_item_of_a_map_has_its_own_limit(start_method: str) -> None:
    # The import is the first item's own time otherwise: on a busy machine as long as the limit.
    with ProcessPoolExecutor(2, start_method, importlib.import_module, ("tests.limits",)) as pool:
        results = list(
            pool.options(timeout=SHORT).map(limits.hang_if_odd, [0, 2, 1, 4, 6, 3, 8], return_exceptions=True)
        )
    assert [r for r in results if isinstance(r, int)] == [0, 2, 4, 6, 8]
    assert [isinstance(r, TaskTimeout) for r in results] == [False, False, True, False, False, True, False]


def test_a_map_in_chunks_loses_only_the_late_item() -> None:
    with ProcessPoolExecutor(1, None, importlib.import_module, ("tests.limits",)) as pool:
        results = list(
            pool.options(timeout=SHORT).map(limits.hang_if_odd, [0, 2, 1, 4, 6], chunksize=5, return_exceptions=True)
        )
    assert [r if isinstance(r, int) else type(r) for r in results] == [0, 2, TaskTimeout, 4, 6]


def test_tiny_tasks_behind_a_late_one_run_once(gate: Gate) -> None:
    with ProcessPoolExecutor(1, None, *IMPORTS, task_timeout=SHORT) as pool:
        assert len(list(pool.map(operator.neg, range(300), timeout=HANG))) == 300
        late = pool.submit(deaths.hang)
        behind = [pool.submit(gate.arrive, str(i)) for i in range(50)]
        assert isinstance(late.exception(HANG), TaskTimeout)
        assert [f.result(HANG) for f in behind] == [None] * 50
    assert sorted(int(note) for _, note in gate.arrivals()) == list(range(50))


def test_tasks_about_as_long_as_their_limit_end_one_way_or_the_other() -> None:
    with ProcessPoolExecutor(2) as pool:
        limited = pool.options(timeout=0.02)
        futures = [limited.submit(deaths.sleep_and_return, 0.019 + 0.0001 * i) for i in range(20)]
        tiny = [pool.submit(operator.neg, i) for i in range(20)]
        for future in futures:
            error = future.exception(HANG)
            assert error is None or isinstance(error, TaskTimeout)
        # A kill that came too late did not hit the next task.
        assert [f.result(HANG) for f in tiny] == [-i for i in range(20)]


def test_a_limit_in_time_is_no_limit(gate: Gate) -> None:
    with ProcessPoolExecutor(1, task_timeout=600) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        assert pool.submit(os.getpid).result(HANG) == pid


def test_it_pickles_with_its_facts() -> None:
    with ProcessPoolExecutor(1, task_timeout=SHORT) as pool:
        error = pool.submit(deaths.hang).exception(HANG)
    assert isinstance(error, TaskTimeout)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (TaskTimeout, str(error))
    assert (again.task, again.timeout, again.pid, again.stack) == (
        error.task,
        error.timeout,
        error.pid,
        error.stack,
    )


# --- soft ---------------------------------------------------------------------------------------------------


def test_a_soft_limit_lets_the_task_clean_up(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, start_method, *IMPORTS, soft_timeout=SHORT) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        assert pool.submit(limits.clean_up_on_soft_timeout, gate).result(HANG) == "in time"
        assert [note for _, note in gate.arrivals()] == ["cleaned up"]
        assert pool.submit(os.getpid).result(HANG) == pid


def test_a_soft_limit_that_nobody_catches_fails_the_task_and_keeps_the_worker(gate: Gate) -> None:
    with ProcessPoolExecutor(1, None, *IMPORTS) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        error = pool.options(soft_timeout=SHORT).submit(limits.arrive_and_hang, gate).exception(HANG)
        assert isinstance(error, SoftTimeout)
        assert isinstance(error, TimeoutError)
        assert "in arrive_and_hang" in str(error.__cause__)
        assert pool.submit(os.getpid).result(HANG) == pid


def test_a_task_that_ignores_its_soft_limit_meets_the_hard_one(gate: Gate) -> None:
    with ProcessPoolExecutor(1, None, *IMPORTS) as pool:
        limited = pool.options(soft_timeout=SHORT, timeout=3 * SHORT)
        error = limited.submit(limits.hang_without_end, gate).exception(HANG)
        assert isinstance(error, TaskTimeout)
        assert "caught" in [note for _, note in gate.arrivals()]


class Importing:
    """A call that is a function of another module once it is loaded."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        raise AssertionError("it is another function by now")

    def __reduce__(self) -> tuple[object, ...]:
        return find, (self.module, self.name)


def find(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def test_a_soft_limit_never_hits_the_next_task() -> None:
    with ProcessPoolExecutor(1) as pool:
        for i in range(10):
            soft = pool.options(soft_timeout=0.02).submit(deaths.sleep_and_return, 0.0195 + 0.0001 * i)
            next_one = pool.submit(deaths.sleep_and_return, 0.02)
            assert soft.exception(HANG) is None or isinstance(soft.exception(), SoftTimeout)
            assert next_one.result(HANG) == 0.02


def test_a_soft_limit_does_not_leave_a_module_half_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_method: str
) -> None:
    name = f"slow_{start_method}"
    (tmp_path / f"{name}.py").write_text("import time\ntime.sleep(0.3)\ndef five():\n    return 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    five = importlib.import_module(name).five
    monkeypatch.delitem(sys.modules, name)  # a forked worker is to import it itself
    pickled = Importing(name, "five")
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert isinstance(pool.options(soft_timeout=0.05).submit(pickled).exception(HANG), SoftTimeout)
        assert pool.submit(pickled).result(HANG) == five() == 5


def test_a_limit_that_is_no_time_is_refused() -> None:
    with ProcessPoolExecutor(1) as pool:
        for limit in (0, -1):
            with pytest.raises(ValueError, match="timeout"):
                pool.options(timeout=limit)
        with pytest.raises(TypeError, match="timeout"):
            pool.options(timeout="1")
