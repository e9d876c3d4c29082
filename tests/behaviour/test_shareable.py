"""Locks, queues and shared memory of multiprocessing and loky, as arguments of tasks and as results.

The workers of these tests are older than any primitive that they are given, except where a test says so.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import multiprocessing.managers
import os
import queue
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import ProcessPoolExecutor, SoftTimeout, WorkerLost, wait
from executor._depot import depot
from tests import primitives as tasks
from tests.conftest import START_METHODS
from tests.support import HANG, Gate, kill, new_gate
from tests.tasks import same

CONTEXTS = tasks.CONTEXTS

# Value, Array, Barrier and Pipe are not in loky's context.
OF_MULTIPROCESSING = ("fork", "forkserver", "spawn")


@pytest.fixture(scope="module", autouse=True)
def what_multiprocessing_keeps() -> None:
    tasks.start_what_stays()


@pytest.fixture(scope="module", params=START_METHODS)
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolExecutor]:
    """Two workers that run already, under each start method."""
    gate = new_gate(tmp_path_factory.mktemp("pool"))
    with ProcessPoolExecutor(2, mp_context=request.param) as pool:
        tasks.start_workers(pool, 2, gate)
        yield pool


@pytest.fixture(params=CONTEXTS)
def ctx(request: pytest.FixtureRequest) -> Any:
    """A context to make a primitive from."""
    return tasks.context(request.param)


@pytest.fixture(params=OF_MULTIPROCESSING)
def mp_ctx(request: pytest.FixtureRequest) -> Any:
    return tasks.context(request.param)


def close(*queues: Any) -> None:
    for each in queues:
        each.close()
        if hasattr(each, "join_thread"):
            each.join_thread()


# --- locks --------------------------------------------------------------------------------------------------


def test_a_lock_that_the_parent_holds_is_not_free_in_a_task(pool: ProcessPoolExecutor, ctx: Any) -> None:
    lock = ctx.Lock()
    assert pool.submit(tasks.is_free, lock).result(HANG)
    with lock:
        assert not pool.submit(tasks.is_free, lock).result(HANG)
        assert not pool.submit(tasks.acquire, lock, 0.01).result(HANG)
    assert pool.submit(tasks.is_free, lock).result(HANG)


def test_a_lock_that_a_task_holds_is_not_free_elsewhere(pool: ProcessPoolExecutor, ctx: Any, gate: Gate) -> None:
    lock = ctx.Lock()
    holder = pool.submit(tasks.hold, lock, gate)
    gate.wait_arrivals()
    assert not lock.acquire(False)
    assert not pool.submit(tasks.is_free, lock).result(HANG)
    gate.open()
    holder.result(HANG)
    assert tasks.is_free(lock)


def test_who_waits_for_a_lock_gets_it(pool: ProcessPoolExecutor, ctx: Any, tmp_path: Path) -> None:
    lock = ctx.Lock()
    gate = new_gate(tmp_path)
    with lock:
        waiting = [pool.submit(tasks.arrive_and_acquire, lock, gate) for _ in range(2)]
        gate.wait_arrivals(2)
    # Each keeps the lock; it is released here, for a plain lock may be released by anybody.
    assert next(iter(wait(waiting, HANG, "FIRST_COMPLETED").done)).result(HANG)
    lock.release()
    assert [future.result(HANG) for future in waiting] == [True, True]
    lock.release()


def test_a_lock_guards_what_two_tasks_change(pool: ProcessPoolExecutor, ctx: Any) -> None:
    lock = ctx.Lock()
    total = multiprocessing.get_context("forkserver").Value("i", 0, lock=False)
    wait([pool.submit(tasks.add_under, lock, total, 100) for _ in range(4)], HANG)
    assert total.value == 400


def test_a_lock_comes_back_as_itself(pool: ProcessPoolExecutor, ctx: Any) -> None:
    for lock in (ctx.Lock(), ctx.RLock(), ctx.Semaphore(3), ctx.BoundedSemaphore(2)):
        assert pool.submit(same, lock).result(HANG) is lock
        deep = pool.submit(same, {"a": [(lock, 1)]}).result(HANG)
        assert deep["a"][0][0] is lock


def test_a_lock_in_a_container_is_one_lock(pool: ProcessPoolExecutor, ctx: Any) -> None:
    lock = ctx.Lock()
    first, second = pool.submit(tasks.identities, [lock], key={"lock": lock}).result(HANG)
    assert first == second


def test_a_task_may_take_a_reentrant_lock_again(pool: ProcessPoolExecutor, ctx: Any) -> None:
    lock = ctx.RLock()
    assert pool.submit(tasks.acquire_twice, lock).result(HANG) == 2
    with lock:
        assert not pool.submit(tasks.is_free, lock).result(HANG)
        assert "AssertionError: attempt to release recursive lock" in pool.submit(tasks.release_too_often, lock).result(
            HANG
        )
    assert pool.submit(tasks.is_free, lock).result(HANG)


def test_a_semaphore_has_so_many_places(pool: ProcessPoolExecutor, ctx: Any) -> None:
    places = ctx.Semaphore(2)
    assert pool.submit(tasks.acquire, places).result(HANG)
    assert places.acquire(False)
    assert not pool.submit(tasks.is_free, places).result(HANG)
    assert pool.submit(tasks.release, places).result(HANG) is None
    assert places.get_value() == 1
    places.release()


def test_a_bounded_semaphore_cannot_be_released_too_often(pool: ProcessPoolExecutor, ctx: Any) -> None:
    places = ctx.BoundedSemaphore(1)
    told = pool.submit(tasks.release_too_often, places).result(HANG)
    assert told == "ValueError: semaphore or lock released too many times"


# --- events, conditions, barriers ---------------------------------------------------------------------------


def test_an_event_wakes_all_who_wait(pool: ProcessPoolExecutor, ctx: Any) -> None:
    event = ctx.Event()
    waiting = [pool.submit(tasks.wait_for, event) for _ in range(2)]
    event.set()
    assert [future.result(HANG) for future in waiting] == [True, True]


def test_a_task_sets_an_event_for_the_parent(pool: ProcessPoolExecutor, ctx: Any) -> None:
    event = ctx.Event()
    pool.submit(tasks.set_event, event)
    assert event.wait(HANG)
    assert event.is_set()


def test_a_condition(pool: ProcessPoolExecutor, ctx: Any, gate: Gate) -> None:
    condition = ctx.Condition()
    value = multiprocessing.get_context("forkserver").Value("i", 0, lock=False)
    waiting = [pool.submit(tasks.wait_until, condition, value, 2, gate) for _ in range(2)]
    gate.wait_arrivals(2)
    for _ in range(2):
        with condition:
            value.value += 1
            condition.notify_all()
    assert [future.result(HANG) for future in waiting] == [True, True]


def test_a_barrier(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    barrier = mp_ctx.Barrier(3)
    waiting = [pool.submit(tasks.wait_at, barrier) for _ in range(2)]
    here = barrier.wait(HANG)
    assert sorted([here, *(future.result(HANG) for future in waiting)]) == [0, 1, 2]


# --- queues and pipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_a_queue_from_task_to_task(pool: ProcessPoolExecutor, mp_ctx: Any, kind: str) -> None:
    todo, done = getattr(mp_ctx, kind)(), mp_ctx.SimpleQueue()
    workers = [pool.submit(tasks.work_off, todo, done) for _ in range(2)]
    items = list(range(40))
    tasks.put_all(todo, items)
    assert sorted(tasks.get_many(done, 40)) == [2 * item for item in items]
    if kind == "JoinableQueue":
        todo.join()
    tasks.put_all(todo, [None, None])
    assert sum(future.result(HANG) for future in workers) == 40
    close(todo, done)


def test_lokys_queues(pool: ProcessPoolExecutor) -> None:
    loky = tasks.context("loky")
    todo, done = loky.Queue(), loky.SimpleQueue()
    worker = pool.submit(tasks.work_off, todo, done)
    tasks.put_all(todo, [1, 2, 3, None])
    assert tasks.get_many(done, 3) == [2, 4, 6]
    assert worker.result(HANG) == 3
    close(todo, done)


def test_a_queue_has_its_bound(pool: ProcessPoolExecutor, ctx: Any) -> None:
    bounded = ctx.Queue(2)
    pool.submit(tasks.put_all, bounded, [1, 2]).result(HANG)
    with pytest.raises(queue.Full):
        bounded.put(3, block=False)
    # A third would wait until there is room, which get_many makes.
    pool.submit(tasks.put_all, bounded, [3])
    assert tasks.get_many(bounded, 3) == [1, 2, 3]
    close(bounded)


def test_items_larger_than_a_pipe(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    large = mp_ctx.Queue()
    pool.submit(tasks.put_all, large, [bytes(1 << 20), b"end"])
    first, second = tasks.get_many(large, 2)
    assert (len(first), second) == (1 << 20, b"end")
    close(large)
    depot.release()  # it would keep for a second what the argument was sent in


def test_a_queue_that_a_task_has_made(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    made = pool.submit(tasks.make_queue, mp_ctx.get_start_method()).result(HANG)
    pool.submit(tasks.put_all, made, [1, 2]).result(HANG)
    assert tasks.get_many(made, 2) == [1, 2]
    close(made)


def test_both_ends_of_a_pipe(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    one, other = mp_ctx.Pipe()
    with one, other:
        receiving = pool.submit(tasks.receive_from, other)
        pool.submit(tasks.send_to, one, {"a": 1}).result(HANG)
        assert receiving.result(HANG) == {"a": 1}


def test_a_pipe_ends_when_the_parent_has_closed_its_copies(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    mine, theirs = mp_ctx.Pipe()
    echoing = pool.submit(tasks.echo, theirs)
    for word in ("a", "b"):
        mine.send(word)
        assert mine.recv() == word
    mine.close()
    assert echoing.result(HANG) == 2
    theirs.close()


def test_a_pipe_of_one_direction_keeps_its_direction(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    reading, writing = mp_ctx.Pipe(duplex=False)
    with reading, writing:
        back = pool.submit(same, writing).result(HANG)
        with back:
            assert (back.readable, back.writable) == (False, True)
            back.send("x")
            assert reading.recv() == "x"


def test_a_connection_that_is_closed_says_when_to_close_it(pool: ProcessPoolExecutor) -> None:
    mine, theirs = multiprocessing.Pipe()
    with mine:
        theirs.close()
        error = pool.submit(tasks.echo, theirs).exception(HANG)
    assert "add_done_callback" in str(error)


# --- shared memory ------------------------------------------------------------------------------------------


def test_a_value_and_its_lock(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    total = mp_ctx.Value("i", 0)
    wait([pool.submit(tasks.add_to, total, 100) for _ in range(4)], HANG)
    assert total.value == 400


@pytest.mark.parametrize("kind", ["Array", "RawArray"])
def test_an_array_is_seen_from_both_sides(pool: ProcessPoolExecutor, mp_ctx: Any, kind: str) -> None:
    array = getattr(mp_ctx, kind)("d", 3)
    pool.submit(tasks.set_items, array, [1.0, 2.0, 3.0]).result(HANG)
    assert list(array) == [1.0, 2.0, 3.0]
    array[0] = 7.0
    assert pool.submit(tasks.items_of, array).result(HANG) == [7.0, 2.0, 3.0]


def test_an_array_comes_back_with_the_same_memory(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    array = mp_ctx.RawArray("i", [1, 2])
    back = pool.submit(same, array).result(HANG)
    back[0] = 5
    assert list(array) == [5, 2]


def test_a_plain_ctypes_object_beside_a_shared_one(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    import ctypes

    shared, plain = pool.submit(same, (mp_ctx.RawValue(ctypes.c_int, 3), ctypes.c_int(4))).result(HANG)
    assert (shared.value, plain.value) == (3, 4)
    assert not hasattr(plain, "_wrapper")


def test_memory_stays_while_a_task_has_it(pool: ProcessPoolExecutor, mp_ctx: Any, gate: Gate) -> None:
    reading = pool.submit(tasks.items_after, gate, mp_ctx.RawArray("d", [1.0, 2.0]))
    gate.wait_arrivals()
    gc.collect()
    others = [mp_ctx.RawArray("d", [9.0, 9.0]) for _ in range(50)]
    gate.open()
    assert reading.result(HANG) == [1.0, 2.0]
    del others


def test_memory_of_a_task_stays_while_the_parent_has_it(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    method = mp_ctx.get_start_method()
    arrays = [pool.submit(tasks.make_array, method, [float(i)] * 4).result(HANG) for i in range(20)]
    assert [array[:] for array in arrays] == [[float(i)] * 4 for i in range(20)]


# --- proxies of a manager -----------------------------------------------------------------------------------


def test_proxies_of_a_manager(pool: ProcessPoolExecutor) -> None:
    with multiprocessing.get_context("spawn").Manager() as manager:
        names, ages, space = manager.list(["a"]), manager.dict(), manager.Namespace()
        assert pool.submit(tasks.append_to, names, "b").result(HANG) == 2
        pool.submit(tasks.set_key, ages, "b", 7).result(HANG)
        pool.submit(tasks.set_attribute, space, "ready", True).result(HANG)
        assert (list(names), dict(ages), space.ready) == (["a", "b"], {"b": 7}, True)
        lock = manager.Lock()
        with lock:
            assert not pool.submit(tasks.is_free, lock).result(HANG)


class Remote(multiprocessing.managers.BaseManager):
    """A manager with a key of its own, as for one on another machine."""


Remote.register("queue", queue.Queue)


def test_a_proxy_brings_the_key_of_its_manager(pool: ProcessPoolExecutor) -> None:
    remote = Remote(authkey=b"not the key of this process", ctx=multiprocessing.get_context("spawn"))
    with remote:
        todo = remote.queue()  # type: ignore[attr-defined]
        pool.submit(tasks.put_all, todo, [1, 2]).result(HANG)
        assert tasks.get_many(todo, 2) == [1, 2]


# --- passing on, and coming back ----------------------------------------------------------------------------


def test_a_lock_made_by_a_task(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    lock = pool.submit(tasks.make_lock, mp_ctx.get_start_method()).result(HANG)
    with lock:
        assert not pool.submit(tasks.is_free, lock).result(HANG)
    assert pool.submit(tasks.is_free, lock).result(HANG)


def test_a_lock_passed_on_to_the_executor_of_a_task(pool: ProcessPoolExecutor, ctx: Any) -> None:
    lock = ctx.Lock()
    with lock:
        assert not pool.submit(tasks.through_an_executor, lock).result(HANG)
    assert pool.submit(tasks.through_an_executor, lock).result(HANG)


def test_a_lock_passed_on_to_a_process_that_a_task_forks(pool: ProcessPoolExecutor, ctx: Any) -> None:
    lock = ctx.Lock()
    with lock:
        assert not pool.submit(tasks.through_a_process, "fork", lock).result(HANG)
    assert pool.submit(tasks.through_a_process, "fork", lock).result(HANG)


@pytest.mark.parametrize("start_method", OF_MULTIPROCESSING)  # nothing can be spawned from a worker of loky's
def test_a_lock_passed_on_to_a_process_that_a_task_spawns(start_method: str) -> None:
    named, nameless = multiprocessing.get_context("spawn").Lock(), multiprocessing.get_context("fork").Lock()
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        with named:
            assert not pool.submit(tasks.through_a_process, "spawn", named).result(HANG)
        error = pool.submit(tasks.through_a_process, "spawn", nameless).exception(HANG)
    assert "can be passed on to tasks" in str(error)


def test_a_worker_forked_after_the_lock_was_made(ctx: Any) -> None:
    lock = ctx.Lock()
    with ProcessPoolExecutor(1, mp_context="fork") as pool:
        with lock:
            assert not pool.submit(tasks.is_free, lock).result(HANG)
        assert pool.submit(tasks.acquire, lock).result(HANG)
        assert not lock.acquire(False)
        assert pool.submit(same, lock).result(HANG) is lock


def test_two_executors_share_a_lock(pool: ProcessPoolExecutor, ctx: Any, gate: Gate) -> None:
    lock = ctx.Lock()
    with ProcessPoolExecutor(1, mp_context="fork") as other:
        holder = other.submit(tasks.hold, lock, gate)
        gate.wait_arrivals()
        assert not pool.submit(tasks.is_free, lock).result(HANG)
        gate.open()
        holder.result(HANG)
        assert pool.submit(tasks.is_free, lock).result(HANG)


def test_in_the_items_of_a_map(pool: ProcessPoolExecutor, ctx: Any) -> None:
    locks = [ctx.Lock() for _ in range(5)]
    with locks[2]:
        assert list(pool.map(tasks.is_free, locks)) == [True, True, False, True, True]


def test_connections_in_the_items_of_a_map(pool: ProcessPoolExecutor, mp_ctx: Any) -> None:
    pipes = [mp_ctx.Pipe(duplex=False) for _ in range(5)]
    for number, (_, writing) in enumerate(pipes):
        writing.send(number)
    assert list(pool.map(tasks.receive_from, [reading for reading, _ in pipes])) == [0, 1, 2, 3, 4]
    for pipe in pipes:
        for end in pipe:
            end.close()


def test_in_the_function_of_a_map(pool: ProcessPoolExecutor, ctx: Any) -> None:
    lock, total = ctx.Lock(), multiprocessing.get_context("spawn").Value("i", 0, lock=False)
    list(pool.map(functools.partial(tasks.add_under, lock, total), [20] * 10))
    assert total.value == 200


def test_nothing_is_left_open_in_a_worker(start_method: str, mp_ctx: Any) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:

        def use_everything() -> None:
            made = mp_ctx.Queue(), mp_ctx.Event(), mp_ctx.Array("i", 3), mp_ctx.Pipe(), mp_ctx.Lock()
            pool.submit(same, made).result(HANG)

        use_everything()
        before = pool.submit(tasks.descriptors).result(HANG)
        for _ in range(20):
            use_everything()
        assert pool.submit(tasks.descriptors).result(HANG) <= before


# --- interrupted and killed ---------------------------------------------------------------------------------


def test_a_lock_whose_waiter_is_killed_is_not_lost(start_method: str, ctx: Any, gate: Gate) -> None:
    lock = ctx.Lock()
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        with lock:
            waiting = pool.submit(tasks.arrive_and_acquire, lock, gate)
            kill(gate.wait_arrivals()[0])
            assert isinstance(waiting.exception(HANG), WorkerLost)
        assert lock.acquire(timeout=HANG)
        lock.release()


def test_a_lock_whose_waiter_is_interrupted_is_not_lost(ctx: Any) -> None:
    lock = ctx.Lock()
    with ProcessPoolExecutor(1) as pool:
        with lock:
            waiting = pool.options(soft_timeout=0.2).submit(tasks.acquire, lock)
            assert isinstance(waiting.exception(HANG), SoftTimeout)
        assert lock.acquire(timeout=HANG)
        lock.release()
        assert pool.submit(tasks.acquire, lock).result(HANG)


def test_a_lock_whose_holder_is_killed_stays_locked(start_method: str, ctx: Any) -> None:
    lock = ctx.Lock()
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        error = pool.submit(tasks.hold_and_die, lock).exception(HANG)
        assert isinstance(error, WorkerLost)
        assert error.exitcode == -signal.SIGKILL
        assert not lock.acquire(timeout=0.05)
        # And it can be released by who knows better.
        lock.release()
        assert pool.submit(tasks.is_free, lock).result(HANG)


def test_a_lock_of_a_worker_that_has_gone(start_method: str, mp_ctx: Any) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        lock = pool.submit(tasks.make_lock, mp_ctx.get_start_method()).result(HANG)
        pid = pool.submit(os.getpid).result(HANG)
        kill(pid)
        pool.submit(os.getpid).exception(HANG)
        if mp_ctx.get_start_method() != "fork":
            assert tasks.is_free(lock)
            return
        # The worker served it.
        with pytest.raises(ConnectionResetError, match="process that made this lock has ended"):
            lock.acquire()
