"""A lock whose dead holder is noticed and named."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor, SoftTimeout, WorkerLost
from executor._robust_lock import HolderDied, RobustLock
from tests import primitives as tasks
from tests.support import HANG, Gate, alive, eventually, in_forked_child, kill, new_gate, wait_gone
from tests.tasks import same


@pytest.fixture(scope="module", autouse=True)
def what_multiprocessing_keeps() -> None:
    tasks.start_what_stays()


@pytest.fixture
def pool(start_method: str) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        yield pool


def die_holding(pool: ProcessPoolExecutor, lock: RobustLock) -> int:
    """Let a worker die with the lock; returns its pid."""
    error = pool.submit(tasks.hold_and_die, lock).exception(HANG)
    assert isinstance(error, WorkerLost)
    assert error.pid is not None
    return error.pid


# --- as a lock ----------------------------------------------------------------------------------------------


def test_one_at_a_time(pool: ProcessPoolExecutor, gate: Gate) -> None:
    lock = RobustLock()
    assert pool.submit(tasks.is_free, lock).result(HANG)
    with lock:
        assert not pool.submit(tasks.is_free, lock).result(HANG)
        assert not pool.submit(tasks.acquire, lock, 0.01).result(HANG)
    holder = pool.submit(tasks.hold, lock, gate)
    gate.wait_arrivals()
    assert not lock.acquire(False)
    assert not lock.acquire(timeout=0.01)
    gate.open()
    assert lock.acquire(timeout=HANG)
    lock.release()
    holder.result(HANG)


def test_it_guards_what_tasks_change(pool: ProcessPoolExecutor) -> None:
    lock, total = RobustLock(), multiprocessing.get_context("spawn").Value("i", 0, lock=False)
    for future in [pool.submit(tasks.add_under, lock, total, 100) for _ in range(4)]:
        future.result(HANG)
    assert total.value == 400


def test_it_comes_back_as_itself(pool: ProcessPoolExecutor) -> None:
    lock = RobustLock()
    assert pool.submit(same, [lock]).result(HANG)[0] is lock


def test_threads_take_turns_too() -> None:
    lock = RobustLock()
    lock.acquire()
    got = threading.Event()

    def want() -> None:
        with lock:
            got.set()

    thread = threading.Thread(target=want)
    thread.start()
    assert not got.is_set()
    lock.release()
    assert got.wait(HANG)
    thread.join(HANG)


def test_who_would_wait_for_itself_is_told() -> None:
    lock = RobustLock()
    with lock:
        assert not lock.acquire(False)
        with pytest.raises(RuntimeError, match="holds the lock already"):
            lock.acquire()


def test_only_the_holder_releases(pool: ProcessPoolExecutor) -> None:
    lock = RobustLock()
    with pytest.raises(RuntimeError, match="does not hold"):
        lock.release()
    with lock:
        error = pool.submit(tasks.release, lock).exception(HANG)
        assert "does not hold" in str(error)
        assert lock.locked()
    assert not lock.locked()


def test_who_holds_it(pool: ProcessPoolExecutor, gate: Gate) -> None:
    lock = RobustLock()
    assert lock.holder() is None
    assert repr(lock) == "<RobustLock free>"
    future = pool.submit(tasks.hold, lock, gate)
    pids = gate.wait_arrivals()
    holder = lock.holder()
    assert holder is not None
    assert (holder.pid, holder.task) == (pids[0], "tests.primitives.hold")
    assert str(pids[0]) in repr(lock)
    gate.open()
    future.result(HANG)


def test_a_wait_that_is_interrupted_leaves_the_lock_to_others(gate: Gate) -> None:
    lock = RobustLock()
    with ProcessPoolExecutor(1) as pool:
        with lock:
            waiting = pool.options(soft_timeout=0.2).submit(tasks.acquire, lock)
            assert isinstance(waiting.exception(HANG), SoftTimeout)
        for _ in range(2):
            assert lock.acquire(timeout=HANG)
            lock.release()
        assert pool.submit(tasks.acquire, lock).result(HANG)
        assert not lock.acquire(False)


def test_a_wait_that_was_too_long_leaves_the_lock_to_others(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    lock = RobustLock()
    for turn in range(3):
        gate = new_gate(tmp_path)
        holder = pool.submit(tasks.hold, lock, gate)
        gate.wait_arrivals(1)
        assert not lock.acquire(timeout=0.01), turn
        gate.open()
        holder.result(HANG)
        assert lock.acquire(False)
        lock.release()
        assert pool.submit(tasks.acquire_and_release, lock).result(HANG)


def test_a_task_may_keep_it_for_a_later_task(start_method: str) -> None:
    lock = RobustLock()
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert pool.submit(tasks.acquire, lock).result(HANG)
        assert not lock.acquire(False)
        assert pool.submit(tasks.release, lock).result(HANG) is None
        assert lock.acquire(False)
        lock.release()


# --- a dead holder ------------------------------------------------------------------------------------------


def test_a_dead_holder_is_named_to_everybody(pool: ProcessPoolExecutor) -> None:
    lock = RobustLock()
    dead = die_holding(pool, lock)
    for _ in range(2):
        with pytest.raises(HolderDied) as caught:
            lock.acquire()
        assert caught.value.holder.pid == dead
        assert caught.value.holder.task == "tests.primitives.hold_and_die"
        assert f"pid {dead}" in str(caught.value)
        assert "hold_and_die" in str(caught.value)
    error = pool.submit(tasks.acquire, lock).exception(HANG)
    assert isinstance(error, HolderDied)
    assert error.holder.pid == dead


def test_who_waits_already_is_told(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    lock, holding, wanting = RobustLock(), new_gate(tmp_path), new_gate(tmp_path)
    pool.submit(tasks.hold, lock, holding)
    dead = holding.wait_arrivals()[0]
    waiting = pool.submit(tasks.arrive_and_acquire, lock, wanting)
    wanting.wait_arrivals()
    threads: list[BaseException] = []

    def want() -> None:
        try:
            lock.acquire()
        except HolderDied as error:
            threads.append(error)

    thread = threading.Thread(target=want)
    thread.start()
    kill(dead)
    error = waiting.exception(HANG)
    assert isinstance(error, HolderDied)
    assert error.holder.pid == dead
    thread.join(HANG)
    assert [error.holder.pid for error in threads if isinstance(error, HolderDied)] == [dead]


def test_recover_makes_it_a_lock_again(pool: ProcessPoolExecutor) -> None:
    lock = RobustLock()
    dead = die_holding(pool, lock)
    holder = lock.recover()
    assert holder is not None
    assert holder.pid == dead
    assert not pool.submit(tasks.is_free, lock).result(HANG)
    lock.release()
    assert pool.submit(tasks.is_free, lock).result(HANG)
    # Nothing to recover: it is as acquire().
    assert lock.recover() is None
    lock.release()


def test_who_recovers_and_dies_leaves_it_to_be_recovered(pool: ProcessPoolExecutor) -> None:
    lock = RobustLock()
    die_holding(pool, lock)
    error = pool.submit(tasks.recover_and_die, lock).exception(HANG)
    assert isinstance(error, WorkerLost)
    with pytest.raises(HolderDied) as caught:
        lock.acquire(False)
    assert caught.value.holder.pid == error.pid


def test_a_worker_that_is_retired_has_not_died_holding_it(start_method: str) -> None:
    lock = RobustLock()
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert pool.submit(tasks.acquire_and_release, lock).result(HANG)
    with lock:
        assert lock.locked()


def test_the_error_can_be_pickled() -> None:
    lock = RobustLock()
    with ProcessPoolExecutor(1) as pool:
        die_holding(pool, lock)
    with pytest.raises(HolderDied) as caught:
        lock.acquire()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.holder, str(again)) == (caught.value.holder, str(caught.value))


# --- forks and other processes ------------------------------------------------------------------------------


def test_a_child_does_not_hold_what_its_parent_holds() -> None:
    lock = RobustLock()
    with lock:
        assert in_forked_child(lambda: lock.acquire(False)) == "returned False"
        assert in_forked_child(lock.release).startswith("RuntimeError: This thread does not hold")
    assert in_forked_child(lambda: lock.acquire(False)) == "returned True"
    # The child has died with it.
    with pytest.raises(HolderDied):
        lock.acquire()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_that_outlives_the_holder_does_not_hide_its_death(method: str, gate: Gate) -> None:
    lock = RobustLock()
    process = multiprocessing.get_context(method).Process(target=tasks.hold_fork_and_die, args=(lock, gate))
    process.start()
    child = gate.wait_arrivals()[0]
    process.join()  # with a limit it would wait for the sentinel, which the child keeps open
    process.close()
    with pytest.raises(HolderDied):
        lock.acquire(timeout=HANG)
    assert alive(child)
    gate.open()
    wait_gone(child)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_in_processes_of_multiprocessing(method: str) -> None:
    lock = RobustLock()
    process = multiprocessing.get_context(method).Process(target=tasks.hold_and_die, args=(lock,), name="Ada")
    process.start()
    process.join(HANG)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(HolderDied, match=f"process 'Ada' \\(pid {process.pid}\\)"):
        lock.acquire()
    process.close()


def test_it_is_pickled_on_its_way_to_a_process_only() -> None:
    with pytest.raises(RuntimeError, match="RobustLock objects should only be shared"):
        pickle.dumps(RobustLock())


def test_names_of_any_length_fit() -> None:
    lock = RobustLock()
    process = multiprocessing.current_process()
    before, process.name = process.name, "é" * 5000
    try:
        with lock:
            holder = lock.holder()
            assert holder is not None
            assert holder.pid == os.getpid()
            assert holder.process.startswith("é" * 400)
    finally:
        process.name = before


def test_no_thread_stays_when_nobody_waits() -> None:
    lock = RobustLock()
    before = threading.active_count()
    with ProcessPoolExecutor(1) as pool:
        pool.submit(tasks.acquire, lock).result(HANG)
        assert not lock.acquire(timeout=0.01)
        pool.submit(tasks.release, lock).result(HANG)
        eventually(lambda: not any(thread.name == "executor-flock" for thread in threading.enumerate()))
    assert threading.active_count() <= before + 1
