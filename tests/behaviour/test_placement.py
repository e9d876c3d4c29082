"""Which worker runs a task, and when: slot, key, resources, priority, broadcast."""

from __future__ import annotations

import importlib
import itertools
import operator
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from executor import (
    ProcessPoolExecutor,
    WorkerLost,
    WorkerManager,
    current_worker,
    get_reusable_executor,
    wait,
)
from tests import deaths, tasks
from tests.support import HANG, Gate, eventually, kill, new_gate


def slot(*_: Any) -> int:
    worker = current_worker()
    assert worker is not None
    return worker.slot


def slot_and_pid() -> tuple[int, int]:
    return slot(), os.getpid()


def stop_and_slot(gate: Gate) -> int:
    gate.stop()
    return slot()


# --- slot ---------------------------------------------------------------------------------------------------


def test_a_task_runs_in_the_worker_that_has_its_slot(start_method: str) -> None:
    with ProcessPoolExecutor(3, mp_context=start_method) as pool:
        futures = [(n % 3, pool.options(slot=n % 3).submit(slot)) for n in range(30)]
        assert all(future.result(HANG) == wanted for wanted, future in futures)


def test_the_worker_of_a_slot_is_started_when_none_has_it(start_method: str) -> None:
    with ProcessPoolExecutor(4, mp_context=start_method) as pool:
        assert pool.submit(slot).result(HANG) == 0
        assert pool.options(slot=3).submit(slot).result(HANG) == 3
        assert sorted(worker.slot for worker in pool.stats().workers) == [0, 3]


def test_it_waits_for_its_worker_and_others_do_not_wait_for_it(gate: Gate) -> None:
    with ProcessPoolExecutor(2) as pool:
        first = pool.options(slot=0).submit(stop_and_slot, gate)
        gate.wait_arrivals()
        second = pool.options(slot=0).submit(slot)
        assert [pool.submit(slot).result(HANG) for _ in range(5)] == [1] * 5
        assert not second.done()
        gate.open()
        assert (first.result(HANG), second.result(HANG)) == (0, 0)


def test_after_the_death_of_its_worker_the_successor_runs_it(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        there = pool.options(slot=1)
        lost = there.submit(deaths.die_at_gate, "SIGKILL", gate)
        waiting = [there.submit(slot_and_pid) for _ in range(5)]
        (pid,) = gate.wait_arrivals()
        gate.open()
        places = {future.result(HANG) for future in waiting}
        assert isinstance(lost.exception(HANG), WorkerLost)
        ((number, successor),) = places
        assert number == 1
        assert successor != pid


def test_a_map_may_have_a_slot_too() -> None:
    with ProcessPoolExecutor(3) as pool:
        assert list(pool.options(slot=2).map(slot, range(200))) == [2] * 200
        assert list(pool.options(slot=1).map_unordered(slot, range(20))) == [1] * 20


def test_quotas_hold_for_tasks_with_a_slot() -> None:
    # A first task that imports for long would give back the second, and the worker end without it.
    imports = importlib.import_module, (__name__,)
    with ProcessPoolExecutor(2, None, *imports, max_tasks_per_child=2) as pool:
        places = [future.result(HANG) for future in [pool.options(slot=1).submit(slot_and_pid) for _ in range(8)]]
        assert {number for number, _ in places} == {1}
        assert len({pid for _, pid in places}) == 4


def test_a_cancelled_one_does_not_run(gate: Gate, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1) as pool:
        here = pool.options(slot=0)
        running = here.submit(stop_and_slot, gate)
        gate.wait_arrivals()
        waiting = here.submit(tasks.touch, str(tmp_path / "ran"))
        assert waiting.cancel()
        gate.open()
        assert running.result(HANG) == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number", [-1, 2, 100])
def test_a_slot_that_there_is_not(number: int) -> None:
    with ProcessPoolExecutor(2) as pool:
        with pytest.raises(ValueError, match=f"slot {number}: this executor's workers have slots 0 to 1"):
            pool.options(slot=number)
        with pytest.raises(TypeError, match="slot is to be an int"):
            pool.options(slot=1.0)
        with pytest.raises(ValueError, match="either slot or key"):
            pool.options(slot=1, key="a")
        with pytest.raises(TypeError, match="unhashable"):
            pool.options(key=[])


def test_a_resized_pool_fails_tasks_whose_slot_is_no_more(gate: Gate) -> None:
    pool = get_reusable_executor(2)
    try:
        running = pool.options(slot=1).submit(stop_and_slot, gate)
        gate.wait_arrivals()
        there = pool.options(slot=1)
        waiting, keyed = there.submit(slot), [pool.options(key=n).submit(slot) for n in range(4)]
        assert get_reusable_executor(1) is pool
        with pytest.raises(ValueError, match="slot 1: the executor has 1 workers by now"):
            waiting.result(HANG)
        with pytest.raises(ValueError, match="slot 1: this executor's workers have slots 0 to 0"):
            there.submit(slot)
        gate.open()
        assert running.result(HANG) == 1
        assert {future.result(HANG) for future in keyed} == {0}
    finally:
        pool.shutdown()


# --- key ----------------------------------------------------------------------------------------------------


def test_tasks_with_equal_keys_run_in_one_worker(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        places: dict[str, set[tuple[int, int]]] = {}
        futures = [(key, pool.options(key=key).submit(slot_and_pid)) for _ in range(10) for key in "abcd"]
        for key, future in futures:
            places.setdefault(key, set()).add(future.result(HANG))
        assert [len(places[key]) for key in "abcd"] == [1] * 4
        used = [min(places[key])[0] for key in "abcd"]
        assert used == [0, 1, 0, 1], "spread over the slots as they are first used"


def test_a_key_outlives_its_worker() -> None:
    with ProcessPoolExecutor(3) as pool:
        pool.options(key="other").submit(slot).result(HANG)
        number, pid = pool.options(key="mine").submit(slot_and_pid).result(HANG)
        kill(pid)
        eventually(lambda: pid not in [worker.pid for worker in pool.stats().workers])
        again, successor = pool.options(key="mine").submit(slot_and_pid).result(HANG)
        assert again == number
        assert successor != pid


# --- resources ----------------------------------------------------------------------------------------------


def most_at_once(directory: Path) -> int:
    """How many of the tasks that ``use`` something were in it at the same time."""
    events = sorted(
        tuple(map(int, line.split())) for path in directory.iterdir() for line in path.read_text().splitlines()
    )
    return max(itertools.accumulate(step for _, step in events))


def use(directory: str) -> None:
    """Be in the task for a moment, and note when it began and ended."""
    import time

    began = time.monotonic_ns()
    time.sleep(0.01)
    tasks.append_line(f"{directory}/{os.getpid()}", f"{began} 1\n{time.monotonic_ns()} -1")


def test_no_more_at_once_than_there_are_tokens(start_method: str, tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=start_method, resources={"gpu": 2}) as pool:
        wait([pool.options(resources={"gpu": 1}).submit(use, str(tmp_path)) for _ in range(20)], HANG)
    assert 1 <= most_at_once(tmp_path) <= 2


def test_those_without_tokens_hold_up_no_others(gate: Gate) -> None:
    with ProcessPoolExecutor(3, resources={"gpu": 1}) as pool:
        gpu = pool.options(resources={"gpu": 1})
        first = gpu.submit(tasks.stop_at, gate, "first")
        gate.wait_arrivals()
        waiting = [gpu.submit(operator.neg, n) for n in range(5)]
        assert [pool.submit(operator.neg, n).result(HANG) for n in range(20)] == [-n for n in range(20)]
        assert not any(future.done() for future in waiting)
        gate.open()
        assert first.result(HANG) == "first"
        assert [future.result(HANG) for future in waiting] == [-n for n in range(5)]


def test_two_that_need_one_token_run_one_after_the_other_in_any_worker(gate: Gate, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, resources={"db": 3, "gpu": 1}) as pool:
        one = pool.options(resources={"db": 2, "gpu": 1}).submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        second = new_gate(tmp_path)
        two = pool.options(resources={"db": 2}).submit(tasks.stop_at, second)
        three = pool.options(resources={"db": 1}).submit(operator.neg, 1)
        assert three.result(HANG) == -1
        assert not second.arrivals()
        gate.open()
        second.wait_arrivals()
        second.open()
        wait([one, two], HANG)


def all_are_free(pool: ProcessPoolExecutor, number: int) -> bool:
    """A task that needs them all runs."""
    return pool.options(resources={"gpu": number}).submit(operator.neg, 1).result(HANG) == -1


def test_tokens_come_back_however_a_task_ends(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, resources={"gpu": 2}) as pool:
        gpu = pool.options(resources={"gpu": 1})
        ends = [
            gpu.submit(tasks.raise_value_error, "no"),
            gpu.submit(deaths.die, "SIGKILL"),
            gpu.submit(deaths.die, "exit-0"),
            gpu.options(timeout=0.05).submit(tasks.pause, 60),
            gpu.options(retries=1).submit(deaths.die, "SIGKILL"),
            gpu.submit(tasks.make_unpicklable),
            gpu.submit(tasks.same, tasks.CannotPickle()),
        ]
        assert not any(future.exception(HANG) is None for future in ends)
        assert all_are_free(pool, 2)
        stopped = gpu.options(cancel_running=True).submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        cancelled = [gpu.submit(tasks.stop_at, gate) for _ in range(3)]
        assert all(future.cancel() for future in reversed(cancelled[1:]))
        assert stopped.cancel()
        gate.open()
        assert all_are_free(pool, 2)


def test_none_is_lost_in_a_storm_of_kills(start_method: str, tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=start_method, resources={"gpu": 2}) as pool:
        gpu = pool.options(resources={"gpu": 1}, retries=20)
        futures = [gpu.submit(use, str(tmp_path)) for _ in range(30)]
        for future in futures[::6]:
            future.result(HANG)
            for worker in pool.stats().workers:
                if worker.pid:
                    kill(worker.pid, signal.SIGKILL)
        assert not any(future.exception(HANG) for future in futures)
        assert all_are_free(pool, 2)
    assert most_at_once(tmp_path) <= 2


def test_a_map_may_need_resources(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, resources={"gpu": 1}) as pool:
        gpu = pool.options(resources={"gpu": 1})
        assert list(gpu.map(use, [str(tmp_path)] * 30)) == [None] * 30
        assert list(gpu.map(operator.neg, range(5000))) == [-n for n in range(5000)]
        assert all_are_free(pool, 1)
    assert most_at_once(tmp_path) == 1


def test_with_a_slot_too() -> None:
    with ProcessPoolExecutor(2, resources={"gpu": 1}) as pool:
        both = [pool.options(slot=n % 2, resources={"gpu": 1}).submit(slot) for n in range(20)]
        assert [future.result(HANG) for future in both] == [0, 1] * 10


def test_executors_of_one_manager_share_its_tokens(gate: Gate) -> None:
    with WorkerManager(2, resources={"gpu": 1}) as manager:
        with ProcessPoolExecutor(manager=manager) as one, ProcessPoolExecutor(manager=manager) as two:
            first = one.options(resources={"gpu": 1}).submit(tasks.stop_at, gate, 1)
            gate.wait_arrivals()
            second = two.options(resources={"gpu": 1}).submit(operator.neg, 2)
            assert two.submit(operator.neg, 3).result(HANG) == -3
            assert not second.done()
            gate.open()
            assert (first.result(HANG), second.result(HANG)) == (1, -2)
        with pytest.raises(ValueError, match="resources is the manager's"):
            ProcessPoolExecutor(manager=manager, resources={"gpu": 1})


def test_resources_that_there_are_not() -> None:
    with ProcessPoolExecutor(1, resources={"gpu": 2}) as pool:
        with pytest.raises(ValueError, match="3 of 'gpu' are more than the 2 there are"):
            pool.options(resources={"gpu": 3})
        with pytest.raises(ValueError, match="no resource 'tpu'; it was made with: gpu"):
            pool.options(resources={"tpu": 1})
        with pytest.raises(ValueError, match="is to be 1 or more"):
            pool.options(resources={"gpu": 0})
    with ProcessPoolExecutor(1) as pool, pytest.raises(ValueError, match="it was made with: none"):
        pool.options(resources={"gpu": 1})


# --- priority -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("placed", [{}, {"slot": 0}, {"resources": {"gpu": 1}}])
def test_higher_priority_first_and_equals_in_their_order(gate: Gate, tmp_path: Path, placed: dict[str, Any]) -> None:
    log = str(tmp_path / "log")
    with ProcessPoolExecutor(1, resources={"gpu": 1}) as pool:
        blocking = pool.submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        for n in range(10):
            for priority in (0, 5, -1):
                pool.options(priority=priority, **placed).submit(tasks.append_line, log, f"{priority} {n}")
        gate.open()
        blocking.result(HANG)
    lines = [f"{priority} {n}" for priority in (5, 0, -1) for n in range(10)]
    assert Path(log).read_text().splitlines() == lines


# --- broadcast ----------------------------------------------------------------------------------------------


def test_a_broadcast_runs_once_in_every_worker(start_method: str) -> None:
    with ProcessPoolExecutor(3, mp_context=start_method) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1  # not all live yet
        futures = pool.broadcast(slot_and_pid)
        places = [future.result(HANG) for future in futures]
        assert [number for number, _ in places] == [0, 1, 2]
        assert {pid for _, pid in places} == {worker.pid for worker in pool.stats().workers}
        pool.broadcast(tasks.set_greeting, greeting="hello")
        assert set(pool.map(tasks.get_greeting, range(50))) == {"hello"}


def test_it_goes_before_what_waits(gate: Gate) -> None:
    with ProcessPoolExecutor(2) as pool:
        running = [pool.submit(tasks.stop_at, gate) for _ in range(2)]
        gate.wait_arrivals(2)
        waiting = [pool.options(priority=10).submit(tasks.get_greeting) for _ in range(20)]
        pool.broadcast(tasks.set_greeting, "hello")
        gate.open()
        assert {future.result(HANG) for future in waiting} == {"hello"}
        wait(running, HANG)


def test_a_worker_that_dies_of_it_costs_its_future(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, task_retries=3) as pool:
        errors = [future.exception(HANG) for future in pool.broadcast(deaths.die, "SIGKILL")]
        assert [type(error) for error in errors] == [WorkerLost] * 2
        assert [future.result(HANG) for future in pool.broadcast(slot)] == [0, 1]


def test_with_options(gate: Gate) -> None:
    seen: list[int] = []
    with ProcessPoolExecutor(2) as pool:
        futures = pool.options(callback=seen.append, name="where").broadcast(slot)
        wait(futures, HANG)
    assert sorted(seen) == [0, 1]


def test_after_the_shutdown_it_is_refused() -> None:
    pool = ProcessPoolExecutor(2)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.broadcast(slot)
