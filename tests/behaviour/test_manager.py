"""Warm workers that outlive executors: WorkerManager, get_reusable_executor, idle_timeout, min_workers."""

from __future__ import annotations

import gc
import operator
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor import (
    InitializerError,
    ProcessPoolExecutor,
    RestartIntensity,
    WorkerLost,
    WorkerManager,
    get_reusable_executor,
    wait,
)
from tests import deaths, limits
from tests.support import HANG, Gate, alive, eventually, kill, new_gate, wait_gone


def test_workers_outlive_the_executors_that_borrow_them(start_method: str) -> None:
    with WorkerManager(1, start_method) as manager:
        pids = set()
        for i in range(3):
            with ProcessPoolExecutor(manager=manager) as pool:
                pids.add(pool.submit(os.getpid).result(HANG))
                assert pool.submit(operator.neg, i).result(HANG) == -i
        (pid,) = pids
        assert alive(pid)
    assert not alive(pid)


def test_an_executor_that_is_shut_down_takes_nothing_more_while_the_manager_lives() -> None:
    with WorkerManager(1) as manager:
        with ProcessPoolExecutor(manager=manager) as pool:
            assert pool.submit(operator.neg, 1).result(HANG) == -1
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            pool.submit(operator.neg, 1)


def test_two_executors_from_two_threads_borrow_at_once(start_method: str) -> None:
    with WorkerManager(2, start_method) as manager:
        results: dict[int, list[int]] = {}

        def work(sign: int) -> None:
            with ProcessPoolExecutor(manager=manager) as pool:
                results[sign] = [f.result(HANG) for f in [pool.submit(operator.mul, sign, i) for i in range(50)]]

        threads = [threading.Thread(target=work, args=(sign,)) for sign in (1, -1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * HANG)
        assert results == {1: list(range(50)), -1: [-i for i in range(50)]}
        assert len(manager.stats().workers) <= 2


def test_shutting_one_down_finishes_its_own_tasks_only(tmp_path: Path) -> None:
    first_gate, second_gate = new_gate(tmp_path), new_gate(tmp_path)
    with WorkerManager(2) as manager:
        first, second = ProcessPoolExecutor(manager=manager), ProcessPoolExecutor(manager=manager)
        mine, theirs = first.submit(first_gate.stop), second.submit(second_gate.stop)
        first_gate.wait_arrivals()
        second_gate.wait_arrivals()
        first_gate.open()
        first.shutdown(wait=True)  # would not return if it waited for the other's
        assert mine.result() is None
        assert theirs.running()
        second_gate.open()
        assert theirs.result(HANG) is None
        second.shutdown()


def test_cancelling_the_tasks_of_one_leaves_those_of_the_other(gate: Gate) -> None:
    with WorkerManager(1) as manager:
        first, second = ProcessPoolExecutor(manager=manager), ProcessPoolExecutor(manager=manager)
        held = first.submit(gate.stop)
        gate.wait_arrivals()
        mine = [first.submit(operator.neg, i) for i in range(5)]
        theirs = [second.submit(operator.neg, i) for i in range(5)]
        first.shutdown(wait=False, cancel_futures=True)
        assert all(f.cancelled() for f in mine)
        gate.open()
        assert held.result(HANG) is None
        assert [f.result(HANG) for f in theirs] == [0, -1, -2, -3, -4]
        second.shutdown()
        first.shutdown()


@pytest.mark.parametrize("verb", ["kill_workers", "terminate_workers"])
def test_killing_the_workers_of_one_leaves_the_tasks_of_the_other(verb: str, tmp_path: Path) -> None:
    first_gate, second_gate = new_gate(tmp_path), new_gate(tmp_path)
    with WorkerManager(2) as manager:
        first, second = ProcessPoolExecutor(manager=manager), ProcessPoolExecutor(manager=manager)
        mine, theirs = first.submit(first_gate.stop), second.submit(second_gate.stop)
        (killed,) = first_gate.wait_arrivals()
        second_gate.wait_arrivals()
        getattr(first, verb)()
        wait_gone(killed)
        assert isinstance(mine.exception(HANG), WorkerLost)
        second_gate.open()
        assert theirs.result(HANG) is None
        assert second.submit(operator.neg, 1).result(HANG) == -1
        second.shutdown()


def test_a_death_under_one_executor_costs_the_other_nothing(gate: Gate) -> None:
    with (
        WorkerManager(2) as manager,
        ProcessPoolExecutor(manager=manager) as first,
        ProcessPoolExecutor(manager=manager) as second,
    ):
        held = second.submit(gate.stop)
        gate.wait_arrivals()
        assert isinstance(first.submit(deaths.die, "SIGKILL").exception(HANG), WorkerLost)
        gate.open()
        assert held.result(HANG) is None


def test_options_are_the_executors_and_quotas_the_managers(gate: Gate) -> None:
    with WorkerManager(1, max_tasks_per_child=1) as manager:
        with ProcessPoolExecutor(manager=manager, task_retries=1) as pool:
            assert pool.submit(limits.count_attempts_and_die, gate, 1).result(HANG) == 2
            assert len({pool.submit(os.getpid).result(HANG) for _ in range(3)}) == 3
        with ProcessPoolExecutor(manager=manager) as pool:
            assert isinstance(pool.submit(deaths.die, "exit-7").exception(HANG), WorkerLost)
    with WorkerManager(1) as manager, pytest.raises(ValueError, match="max_tasks_per_child"):
        ProcessPoolExecutor(manager=manager, max_tasks_per_child=1)


def test_the_initializer_of_a_manager_runs_once_a_worker(gate: Gate) -> None:
    with WorkerManager(1, initializer=gate.arrive) as manager:
        for _ in range(3):
            with ProcessPoolExecutor(manager=manager) as pool:
                pool.submit(operator.neg, 1).result(HANG)
    assert len(gate.arrivals()) == 1


def test_a_manager_that_is_shut_down_lends_nothing_more(gate: Gate) -> None:
    manager = WorkerManager(1)
    pool = ProcessPoolExecutor(manager=manager)
    held = pool.submit(gate.stop)
    (pid,) = gate.wait_arrivals()
    behind = pool.submit(operator.neg, 1)
    thread = threading.Thread(target=manager.shutdown)
    thread.start()
    gate.open()
    thread.join(HANG)
    assert not thread.is_alive()
    assert (held.result(), behind.result()) == (None, -1)
    assert not alive(pid)
    with pytest.raises(RuntimeError):
        pool.submit(operator.neg, 1)
    with pytest.raises(RuntimeError):
        ProcessPoolExecutor(manager=manager)
    pool.shutdown()
    manager.shutdown()


def test_a_collected_manager_leaves_nothing(start_method: str) -> None:
    manager = WorkerManager(1, start_method)
    with ProcessPoolExecutor(manager=manager) as pool:
        pid = pool.submit(os.getpid).result(HANG)
    del manager, pool
    gc.collect()
    wait_gone(pid)


def test_a_collected_executor_gives_its_workers_back(gate: Gate) -> None:
    with WorkerManager(1) as manager:
        held = ProcessPoolExecutor(manager=manager).submit(limits.stop_and_pid, gate)
        gc.collect()
        gate.open()
        pid = held.result(HANG)
        with ProcessPoolExecutor(manager=manager) as pool:
            assert pool.submit(os.getpid).result(HANG) == pid


# --- shrinking and keeping ----------------------------------------------------------------------------------


def start_all(pool: ProcessPoolExecutor, gate: Gate, count: int) -> list[int]:
    futures = [pool.submit(gate.stop) for _ in range(count)]
    pids = gate.wait_arrivals(count)
    gate.open()
    assert wait(futures, HANG).not_done == set()
    return pids


def test_idle_workers_leave_but_for_the_fewest(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(3, mp_context=start_method, idle_timeout=0.1, min_workers=1) as pool:
        pids = start_all(pool, gate, 3)
        eventually(lambda: len(pool.stats().workers) == 1)
        assert pool.submit(os.getpid).result(HANG) in pids
        assert pool.stats().failed == 0


def test_all_idle_workers_leave_when_none_is_to_be_kept(gate: Gate) -> None:
    with ProcessPoolExecutor(2, idle_timeout=0.1) as pool:
        pids = start_all(pool, gate, 2)
        wait_gone(*pids)
        eventually(lambda: pool.stats().workers == ())
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_submits_that_meet_a_worker_about_to_leave() -> None:
    with ProcessPoolExecutor(1, idle_timeout=0.005) as pool:
        for i in range(30):
            assert pool.submit(deaths.sleep_and_return, 0.0001 * i).result(HANG) == 0.0001 * i
            deaths.sleep_and_return(0.0003 * i)  # shorter and longer than the worker waits


def test_the_fewest_workers_are_there_from_the_first_task(start_method: str) -> None:
    with ProcessPoolExecutor(3, mp_context=start_method, min_workers=2) as pool:
        pool.submit(operator.neg, 1).result(HANG)
        eventually(lambda: [w.state for w in pool.stats().workers] == ["IDLE", "IDLE"])


def test_the_fewest_workers_are_kept_when_they_are_killed() -> None:
    with ProcessPoolExecutor(2, min_workers=2) as pool:
        pool.submit(operator.neg, 1).result(HANG)
        # One may be ready before the fork server has told its pid.
        eventually(lambda: [w.state for w in pool.stats().workers if w.pid is not None] == ["IDLE", "IDLE"])
        before = {w.pid for w in pool.stats().workers}
        for pid in before:
            kill(pid)
        eventually(lambda: len({w.pid for w in pool.stats().workers if w.state == "IDLE"} - {*before, None}) == 2)


def test_idle_deaths_beyond_the_limit_are_told_and_a_later_submit_tries_again() -> None:
    """Somebody kills every idle worker: the pool gives up restarting, not working."""
    intensity = RestartIntensity(limit=2, period=600)
    with ProcessPoolExecutor(1, min_workers=1, restart_intensity=intensity) as pool:
        for i in range(8):
            pid = pool.submit(os.getpid).result(HANG)
            kill(pid)
            wait_gone(pid)
            assert pool.submit(operator.neg, i).result(HANG) == -i


# --- get_reusable_executor ----------------------------------------------------------------------------------


@pytest.fixture
def last_executor() -> Iterator[None]:
    """Shuts down what get_reusable_executor keeps."""
    yield
    get_reusable_executor().shutdown()


@pytest.mark.usefixtures("last_executor")
def test_the_same_arguments_give_the_same_warm_pool(start_method: str) -> None:
    first = get_reusable_executor(1, mp_context=start_method)
    pid = first.submit(os.getpid).result(HANG)
    second = get_reusable_executor(1, mp_context=start_method)
    assert second.submit(os.getpid).result(HANG) == pid
    assert second is first


@pytest.mark.usefixtures("last_executor")
def test_no_argument_is_as_good_as_the_same(gate: Gate) -> None:
    first = get_reusable_executor(1)
    assert get_reusable_executor(max_workers=1) is first


@pytest.mark.usefixtures("last_executor")
def test_other_arguments_give_another_pool(gate: Gate) -> None:
    first = get_reusable_executor(1)
    pid = first.submit(os.getpid).result(HANG)
    pending = first.submit(operator.neg, 3)
    second = get_reusable_executor(2, initializer=gate.arrive)
    assert second.submit(operator.neg, 1).result(HANG) == -1
    assert pending.result(HANG) == -3
    wait_gone(pid)
    assert gate.wait_arrivals()


@pytest.mark.usefixtures("last_executor")
def test_one_that_was_shut_down_is_replaced() -> None:
    first = get_reusable_executor(1)
    assert first.submit(operator.neg, 1).result(HANG) == -1
    first.shutdown()
    second = get_reusable_executor(1)
    assert second is not first
    assert second.submit(operator.neg, 2).result(HANG) == -2


@pytest.mark.usefixtures("last_executor")
def test_it_outlives_its_with_block_no_longer_than_loky_says() -> None:
    with get_reusable_executor(1) as pool:
        pool.submit(operator.neg, 1).result(HANG)
    assert get_reusable_executor(1).submit(operator.neg, 2).result(HANG) == -2


@pytest.mark.usefixtures("last_executor")
def test_threads_that_ask_at_once_get_working_pools() -> None:
    results: list[int] = []

    def ask(number: int) -> None:
        results.append(get_reusable_executor(2).submit(operator.neg, number).result(HANG))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * HANG)
    assert sorted(results) == [-5, -4, -3, -2, -1, 0]


# --- ... resized --------------------------------------------------------------------------------------------


def slots_of(pool: ProcessPoolExecutor, gate: Gate, count: int) -> dict[int, int]:
    """Slot and pid of as many workers, each of which runs a task at the same time."""
    futures = [pool.submit(limits.stop_and_where, gate) for _ in range(count)]
    gate.wait_arrivals(count)
    gate.open()
    return {slot: pid for _, slot, _, pid in (future.result(HANG) for future in futures)}


@pytest.mark.usefixtures("last_executor")
def test_another_number_of_workers_resizes_the_warm_pool(start_method: str, tmp_path: Path) -> None:
    pool = get_reusable_executor(2, mp_context=start_method)
    two = slots_of(pool, new_gate(tmp_path), 2)
    assert sorted(two) == [0, 1]
    assert get_reusable_executor(4, mp_context=start_method) is pool
    four = slots_of(pool, new_gate(tmp_path), 4)
    assert sorted(four) == [0, 1, 2, 3]
    assert four | two == four, "the warm workers were kept"
    assert get_reusable_executor(1, mp_context=start_method) is pool
    wait_gone(*(four[slot] for slot in (1, 2, 3)))
    assert {pool.submit(os.getpid).result(HANG) for _ in range(8)} == {four[0]}
    assert pool._max_workers == 1


@pytest.mark.usefixtures("last_executor")
def test_a_busy_worker_is_superfluous_only_when_it_has_finished(start_method: str, tmp_path: Path) -> None:
    first, second = new_gate(tmp_path), new_gate(tmp_path)
    pool = get_reusable_executor(3, mp_context=start_method)
    running = [pool.submit(limits.stop_and_where, first) for _ in range(3)]
    pids = set(first.wait_arrivals(3))
    pending = [pool.submit(operator.neg, i) for i in range(50)]
    assert get_reusable_executor(1, mp_context=start_method) is pool
    assert all(alive(pid) for pid in pids)
    first.open()
    assert [future.result(HANG) for future in pending] == [-i for i in range(50)]
    places = {slot: pid for _, slot, _, pid in (future.result(HANG) for future in running)}
    assert set(places.values()) == pids
    wait_gone(places[1], places[2])
    futures = [pool.submit(limits.stop_and_where, second) for _ in range(3)]
    assert second.wait_arrivals() == [places[0]]
    assert get_reusable_executor(2, mp_context=start_method) is pool
    assert len(set(second.wait_arrivals(2))) == 2
    assert len(pool.stats().workers) == 2
    second.open()
    assert {future.result(HANG)[1] for future in futures} <= {0, 1}
    assert pool.stats().restarts == {"resized": 2}


@pytest.mark.usefixtures("last_executor")
def test_a_worker_that_has_not_gone_yet_is_kept_when_it_is_wanted_again(gate: Gate) -> None:
    pool = get_reusable_executor(2)
    futures = [pool.submit(limits.stop_and_where, gate) for _ in range(2)]
    pids = set(gate.wait_arrivals(2))
    get_reusable_executor(1)
    eventually(lambda: pool._session.engine.settings.max_workers == 1)
    get_reusable_executor(2)
    eventually(lambda: pool._session.engine.settings.max_workers == 2)
    gate.open()
    assert {future.result(HANG)[3] for future in futures} == pids
    assert {pool.submit(os.getpid).result(HANG) for _ in range(20)} <= pids
    assert not pool.stats().restarts


@pytest.mark.usefixtures("last_executor")
def test_resized_while_it_works_it_loses_nothing_and_shares_no_slot(start_method: str, tmp_path: Path) -> None:
    pool = get_reusable_executor(3, mp_context=start_method)
    futures = []
    for round in range(12):
        assert get_reusable_executor(1 + round * 7 % 4, mp_context=start_method) is pool
        futures += [pool.submit(limits.use_slot_alone, str(tmp_path)) for _ in range(6)]
        assert futures.pop(0).result(HANG)
    assert all(future.result(HANG) for future in futures)
    assert {path.name for path in tmp_path.iterdir()} <= {f"slot-{i}" for i in range(4)}


@pytest.mark.usefixtures("last_executor")
def test_resized_before_its_first_task(gate: Gate) -> None:
    pool = get_reusable_executor(1, min_workers=1)
    assert get_reusable_executor(2, min_workers=1) is pool
    assert not pool.stats().workers
    assert sorted(slots_of(pool, gate, 2)) == [0, 1]


@pytest.mark.usefixtures("last_executor")
def test_it_is_not_resized_below_what_it_keeps() -> None:
    pool = get_reusable_executor(2, min_workers=2)
    with pytest.raises(ValueError, match="min_workers must be an integer from 0 to max_workers"):
        get_reusable_executor(1, min_workers=2)
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        get_reusable_executor(0, min_workers=2)
    assert pool.submit(operator.neg, 1).result(HANG) == -1


@pytest.mark.usefixtures("last_executor")
def test_the_workers_of_a_manager_are_not_resized() -> None:
    with WorkerManager(1) as manager:
        pool = get_reusable_executor(manager=manager)
        assert get_reusable_executor(manager=manager) is pool
        with pytest.raises(ValueError, match="max_workers is the manager's"):
            get_reusable_executor(2, manager=manager)


@pytest.mark.usefixtures("last_executor")
def test_one_whose_workers_could_not_start_is_replaced() -> None:
    pool = get_reusable_executor(1, initializer=deaths.die, initargs=("exit-7",))
    with pytest.raises(InitializerError):
        pool.submit(operator.neg, 1).result(HANG)
    assert get_reusable_executor(1, initializer=deaths.die, initargs=("exit-7",)) is not pool
