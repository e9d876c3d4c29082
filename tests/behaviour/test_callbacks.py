"""Callbacks of `options(callback=, error_callback=)`: on the parent thread, in order, each exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from executor import FIRST_COMPLETED, ProcessPoolExecutor, WorkerLost, WorkerManager, as_completed, wait
from tests import tasks
from tests.support import HANG, Gate, eventually, in_forked_child, new_gate


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as pool:
        yield pool


class Notes:
    """Callbacks that note what they were given, and in which thread."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[BaseException] = []
        self.threads: set[threading.Thread] = set()
        self.some = threading.Event()

    def result(self, value: Any) -> None:
        self.results.append(value)
        self.threads.add(threading.current_thread())
        self.some.set()

    def error(self, error: BaseException) -> None:
        self.errors.append(error)
        self.threads.add(threading.current_thread())
        self.some.set()

    def both(self) -> dict[str, Any]:
        return {"callback": self.result, "error_callback": self.error}

    def __len__(self) -> int:
        return len(self.results) + len(self.errors)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def run_until(pool: ProcessPoolExecutor, ready: Callable[[], object]) -> int:
    """Run callbacks until that is so; how many ran."""
    ran = 0
    while not ready():
        ran += pool.run_callbacks(HANG)
    return ran


def settle(pool: ProcessPoolExecutor, count: int) -> None:
    """Until so many tasks are done, without waiting for them in a way that runs callbacks."""
    eventually(lambda: (stats := pool.stats()).done + stats.failed + stats.cancelled >= count)


# --- where and when they run --------------------------------------------------------------------------------

WAYS_TO_WAIT: dict[str, Callable[[ProcessPoolExecutor, Any], object]] = {
    "result": lambda pool, future: future.result(HANG),
    "exception": lambda pool, future: future.exception(HANG),
    "wait": lambda pool, future: wait([future], HANG),
    "as_completed": lambda pool, future: list(as_completed([future], HANG)),
    "map": lambda pool, future: list(pool.map(tasks.square, range(3))),
    "map_unordered": lambda pool, future: list(pool.map_unordered(tasks.square, range(3))),
    "run_callbacks": lambda pool, future: pool.run_callbacks(HANG),
    "shutdown": lambda pool, future: pool.shutdown(wait=True),
    "with": lambda pool, future: pool.__exit__(None, None, None),
}


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_they_run_on_this_thread_while_it_waits(notes: Notes, gate: Gate, way: str) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.options(callback=lambda n: (notes.result(n), gate.open())).submit(tasks.square, 3)
        settle(pool, 1)
        assert notes.results == []  # nobody has waited yet
        awaited = pool.submit(tasks.stop_at, gate, "second")  # keeps the worker until the callback has run
        WAYS_TO_WAIT[way](pool, awaited)
        assert notes.results == [9]
        assert notes.threads == {threading.current_thread()}


def test_the_callback_of_what_one_waits_for_has_run(pool: ProcessPoolExecutor, notes: Notes) -> None:
    calls = pool.options(**notes.both())
    for n in range(100):
        assert calls.submit(tasks.square, n).result(HANG) == n * n
        assert len(notes) == n + 1


def test_the_one_gets_the_result_the_other_the_exception(pool: ProcessPoolExecutor, notes: Notes) -> None:
    calls = pool.options(**notes.both())
    calls.submit(tasks.square, 5).result(HANG)
    failed = calls.submit(tasks.raise_value_error, "no")
    lost = calls.submit(tasks.kill_itself, 9)
    wait([failed, lost], HANG)
    assert notes.results == [25]
    assert set(notes.errors) == {failed.exception(), lost.exception()}
    assert {type(error) for error in notes.errors} == {ValueError, WorkerLost}


def test_either_may_be_left_out(pool: ProcessPoolExecutor, notes: Notes) -> None:
    pool.options(error_callback=notes.error).submit(tasks.square, 2).result(HANG)
    pool.options(callback=notes.result).submit(tasks.raise_value_error, "no").exception(HANG)
    pool.submit(tasks.square, 2).result(HANG)
    pool.shutdown()
    assert len(notes) == 0


def test_a_returned_exception_is_a_result(pool: ProcessPoolExecutor, notes: Notes) -> None:
    pool.options(**notes.both()).submit(tasks.same, KeyError("value")).result(HANG)
    assert [type(value) for value in notes.results] == [KeyError]
    assert notes.errors == []


def test_a_cancelled_call_tells_its_error_callback(notes: Notes, gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        second = pool.options(**notes.both()).submit(tasks.square, 2)
        assert second.cancel()
        gate.open()
        first.result(HANG)
        pool.run_callbacks()  # there was nothing to wait for if the result was there already
        assert [type(error) for error in notes.errors] == [CancelledError]
    assert len(notes) == 1


def test_items_of_a_map_have_callbacks(pool: ProcessPoolExecutor, notes: Notes) -> None:
    results = pool.options(**notes.both()).map(tasks.error_on, [3] * 50, range(50), return_exceptions=True)
    assert len(list(results)) == 50
    assert sorted(notes.results) == [n for n in range(50) if n != 3]
    assert [str(error) for error in notes.errors] == ["bad 3"]
    assert notes.threads == {threading.current_thread()}


def test_items_of_an_unordered_map_have_callbacks(pool: ProcessPoolExecutor, notes: Notes) -> None:
    results = list(pool.options(**notes.both()).map_unordered(tasks.square, range(50)))
    assert sorted(results) == sorted(notes.results) == [n * n for n in range(50)]


@pytest.mark.parametrize("name", ["callback", "error_callback", "callback_thread"])
def test_what_is_none_is_refused(pool: ProcessPoolExecutor, name: str) -> None:
    with pytest.raises(TypeError, match="callback"):
        pool.options(**{name: "text"})


# --- run_callbacks ------------------------------------------------------------------------------------------


def test_run_callbacks_tells_how_many_ran(pool: ProcessPoolExecutor, notes: Notes) -> None:
    assert pool.run_callbacks() == 0
    calls = pool.options(**notes.both())
    for n in range(20):
        calls.submit(tasks.square, n)
    settle(pool, 20)
    assert pool.run_callbacks() == 20
    assert pool.run_callbacks() == 0
    assert sorted(notes.results) == [n * n for n in range(20)]


def test_run_callbacks_waits_for_one(pool: ProcessPoolExecutor, notes: Notes) -> None:
    calls = pool.options(**notes.both())
    for n in range(20):
        calls.submit(tasks.square, n)
    assert run_until(pool, lambda: len(notes) == 20) == 20


def test_run_callbacks_comes_back_without_any(pool: ProcessPoolExecutor) -> None:
    assert pool.run_callbacks(0.01) == 0


def test_run_callbacks_elsewhere_does_nothing(pool: ProcessPoolExecutor, notes: Notes) -> None:
    pool.options(**notes.both()).submit(tasks.square, 2)
    settle(pool, 1)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(pool.run_callbacks, HANG).result(HANG) == 0
    assert len(notes) == 0
    assert pool.run_callbacks() == 1


def test_another_thread_that_waits_runs_none(pool: ProcessPoolExecutor, notes: Notes) -> None:
    calls = pool.options(**notes.both())
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: calls.submit(tasks.square, 3).result(HANG)).result(HANG) == 9
    assert len(notes) == 0
    assert run_until(pool, lambda: len(notes)) == 1
    assert notes.threads == {threading.current_thread()}


def test_after_the_shutdown_nothing_is_waited_for(pool: ProcessPoolExecutor) -> None:
    pool.options(callback=print).map(tasks.square, [1])
    pool.shutdown()
    assert pool.run_callbacks(HANG) == 0


# --- order, one at a time -----------------------------------------------------------------------------------


def test_the_order_is_that_of_completion(pool: ProcessPoolExecutor, tmp_path: Any) -> None:
    order: list[int] = []
    gates = [Gate(str(tmp_path / str(n))) for n in range(2)]
    for one in gates:
        (tmp_path / one.directory).mkdir()
    calls = pool.options(callback=order.append)
    futures = [calls.submit(tasks.stop_at, gate, n) for n, gate in enumerate(gates)]
    for n in (1, 0):
        gates[n].open()
        eventually(futures[n].done)
    third = calls.submit(tasks.same, 2)
    eventually(third.done)
    assert pool.run_callbacks() == 3
    assert order == [1, 0, 2]


def test_never_two_at_once_nor_one_inside_another(pool: ProcessPoolExecutor) -> None:
    inside: list[int] = []
    seen: list[int] = []

    def callback(value: int) -> None:
        assert inside == []
        inside.append(value)
        assert pool.submit(tasks.square, value).result(HANG) == value * value  # others become due meanwhile
        assert pool.run_callbacks() == 0
        inside.pop()
        seen.append(value)

    calls = pool.options(callback=callback)
    futures = [calls.submit(tasks.same, n) for n in range(20)]
    wait(futures, HANG)
    run_until(pool, lambda: len(seen) == 20)
    assert sorted(seen) == list(range(20))


# --- exactly once, before `with` ends -----------------------------------------------------------------------


def test_each_runs_exactly_once_before_with_ends(notes: Notes) -> None:
    with ProcessPoolExecutor(2) as pool:
        calls = pool.options(**notes.both())
        for n in range(500):
            calls.submit(tasks.error_on, 77, n)
        calls.submit(tasks.kill_itself, 9)
        cancelled = [calls.submit(tasks.square, n) for n in range(10)]
        count = sum(future.cancel() for future in cancelled)
        pool.run_callbacks()
    assert len(notes.results) == 499 + 10 - count
    assert len(notes.errors) == 2 + count
    assert notes.threads == {threading.current_thread()}


def test_with_that_is_left_by_an_error_runs_them_too(notes: Notes) -> None:
    with pytest.raises(LookupError), ProcessPoolExecutor(2) as pool:
        for n in range(10):
            pool.options(**notes.both()).submit(tasks.square, n)
        raise LookupError
    assert sorted(notes.results) == [n * n for n in range(10)]


def test_cancelled_at_the_shutdown_they_run_too(notes: Notes, gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        calls = pool.options(**notes.both())
        calls.submit(tasks.stop_at, gate, "ran")
        gate.wait_arrivals()
        for n in range(10):
            calls.submit(tasks.square, n)
        gate.open()
        pool.shutdown(cancel_futures=True)
        assert len(notes) == 11
        assert {type(error) for error in notes.errors} <= {CancelledError}
    assert len(notes) == 11


def test_of_killed_workers_they_run_too(notes: Notes, gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        calls = pool.options(**notes.both())
        calls.submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        calls.submit(tasks.square, 1)
        pool.kill_workers()
    assert {type(error) for error in notes.errors} == {WorkerLost, CancelledError}
    assert len(notes) == 2


def test_an_executor_waits_for_the_end_of_its_own_only(notes: Notes, gate: Gate) -> None:
    other = Notes()
    with WorkerManager(2) as manager, ProcessPoolExecutor(manager=manager) as outer:
        outer.options(**other.both()).submit(tasks.stop_at, gate, 4)
        with ProcessPoolExecutor(manager=manager) as inner:
            inner.options(**notes.both()).submit(tasks.square, 3)
        assert (notes.results, other.results) == ([9], [])
        gate.open()
    assert other.results == [4]


# --- several executors of one thread ------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
@pytest.mark.parametrize("shared", [True, False])
def test_those_of_another_executor_run_while_this_thread_waits(
    notes: Notes, gate: Gate, way: str, shared: bool
) -> None:
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(WorkerManager(2)) if shared else None
        workers = None if shared else 1
        other = stack.enter_context(ProcessPoolExecutor(workers, manager=manager))
        pool = stack.enter_context(ProcessPoolExecutor(workers, manager=manager))
        awaited = pool.submit(tasks.stop_at, gate, "done")  # ends when the callback of the other has run
        began = new_gate(Path(gate.directory).parent)
        other.options(callback=lambda n: (notes.result(n), gate.open())).submit(tasks.stop_at, began, 9)
        # Not done before this thread waits, as far as can be: what comes then is to wake it.
        opener = threading.Timer(0.02, began.open)
        opener.start()
        if "map" in way:
            gate_of_map = tasks.stop_at, [gate], ["done"]
            assert list(getattr(pool, way)(*gate_of_map)) == ["done"]
        else:
            WAYS_TO_WAIT[way](pool, awaited)
        assert notes.results == [9]
        assert notes.threads == {threading.current_thread()}
        opener.join()


def test_their_order_is_that_of_completion_over_all_executors() -> None:
    seen: list[int] = []
    with ProcessPoolExecutor(1) as one, ProcessPoolExecutor(1) as two:
        for n in range(20):
            pool = (one, two)[n % 2]
            before = pool.stats().done
            pool.options(callback=seen.append).submit(tasks.same, n)
            eventually(lambda: pool.stats().done > before)  # noqa: B023
        assert seen == []
        one.submit(tasks.nothing).result(HANG)
        assert seen == list(range(20))


def test_none_runs_inside_one_of_another_executor(notes: Notes) -> None:
    depth: list[int] = []
    deepest: list[int] = []

    def callback(n: int) -> None:
        depth.append(n)
        deepest.append(len(depth))
        assert other.submit(tasks.square, n).result(HANG) == n * n
        assert other.run_callbacks(0) == 0
        depth.pop()

    with ProcessPoolExecutor(1) as pool, ProcessPoolExecutor(1) as other:
        calls = pool.options(callback=callback), other.options(callback=callback)
        wait([call.submit(tasks.same, n) for n in range(10) for call in calls], HANG)
    assert deepest == [1] * 20


def test_wait_and_as_completed_over_several_executors(notes: Notes) -> None:
    with ProcessPoolExecutor(1) as one, ProcessPoolExecutor(1) as two, ProcessPoolExecutor(1) as three:
        for waits in (lambda fs: wait(fs, HANG).done, lambda fs: set(as_completed(fs, HANG))):
            futures = {pool.options(**notes.both()).submit(tasks.same, n) for n, pool in enumerate((one, two, three))}
            assert waits(futures) == futures
        assert sorted(notes.results) == [0, 0, 1, 1, 2, 2]
        assert notes.threads == {threading.current_thread()}


@pytest.mark.parametrize("waits", [wait, lambda futures: list(as_completed(futures, HANG))])
def test_futures_that_are_done_already_have_had_their_callbacks(notes: Notes, waits: Callable[..., object]) -> None:
    with ProcessPoolExecutor(1) as pool:
        futures = [pool.options(**notes.both()).submit(tasks.same, n) for n in range(3)]
        eventually(lambda: all(future.done() for future in futures))
        waits(futures)
        assert sorted(notes.results) == [0, 1, 2]


def test_a_wait_over_several_executors_is_woken_by_each(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1) as one, ProcessPoolExecutor(1) as two:
        for pool, other in ((one, two), (two, one)):
            gate = new_gate(tmp_path)
            late = pool.submit(tasks.stop_at, gate)
            early = other.submit(tasks.pause, 0.02)
            assert wait([late, early], HANG, FIRST_COMPLETED).done == {early}
            with pytest.raises(TimeoutError):
                list(as_completed([late, early], 0.01))
            gate.open()
            assert wait([late, early], HANG).done == {late, early}


def test_a_forked_child_runs_none_of_its_parents(pool: ProcessPoolExecutor, notes: Notes) -> None:
    pool.options(**notes.both()).submit(tasks.square, 3)
    settle(pool, 1)

    def act() -> Any:
        with ProcessPoolExecutor(1) as own:
            return own.submit(tasks.square, 2).result(HANG), notes.results

    assert in_forked_child(act) == "returned (4, [])"


# --- done, and due ------------------------------------------------------------------------------------------


def test_what_is_seen_to_be_done_has_its_callback_due(pool: ProcessPoolExecutor, notes: Notes) -> None:
    calls = pool.options(**notes.both())
    for n in range(300):
        future = calls.submit(tasks.same, n)
        while not future.done():
            pass
        pool.run_callbacks(0)
        assert len(notes) == n + 1


def test_who_sees_it_done_runs_its_callback_before_the_wait_ends(pool: ProcessPoolExecutor) -> None:
    """Also where another thread has settled it between two steps of the wait."""
    ran: list[str] = []
    session = pool._session

    def settled_just_now() -> bool:
        if not ran:
            with session.lock:
                session.dispatcher.put(ran.append, "its callback")
        return True

    assert session.wait(settled_just_now, None, list)
    assert ran == ["its callback"]


def test_a_callback_finds_its_future_done(pool: ProcessPoolExecutor) -> None:
    seen: list[bool] = []
    futures: list[Any] = []
    for n in range(300):
        futures.append(pool.options(callback=lambda n: seen.append(futures[n].done())).submit(tasks.same, n))
        pool.run_callbacks(0)
    wait(futures, HANG)
    assert seen == [True] * 300


def test_asking_for_a_result_that_is_there_runs_its_callback(pool: ProcessPoolExecutor, notes: Notes) -> None:
    future = pool.options(**notes.both()).submit(tasks.square, 3)
    settle(pool, 1)
    assert future.done()
    assert len(notes) == 0
    assert future.result() == 9
    assert notes.results == [9]


# --- what a callback may do ---------------------------------------------------------------------------------


def test_a_callback_may_use_what_belongs_to_this_thread() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=True)) as table:
        table.execute("create table squares (n)")
        with ProcessPoolExecutor(2) as pool:
            calls = pool.options(callback=lambda n: table.execute("insert into squares values (?)", [n]))
            for n in range(100):
                calls.submit(tasks.square, n)
        assert table.execute("select count(*), sum(n) from squares").fetchone() == (100, 328350)


def test_a_callback_may_submit(pool: ProcessPoolExecutor) -> None:
    done = []

    def count_down(n: int) -> None:
        if n:
            pool.options(callback=count_down).submit(tasks.add, n, -1)
        else:
            done.append(n)

    pool.options(callback=count_down).submit(tasks.same, 20)
    run_until(pool, lambda: done)


def test_a_callback_may_cancel(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.options(callback=lambda _: (waiting.cancel(), gate.open())).submit(tasks.nothing)
        first = pool.submit(tasks.stop_at, gate)
        waiting = pool.submit(tasks.square, 3)
        first.result(HANG)
        assert waiting.cancelled()


def test_a_callback_may_wait(pool: ProcessPoolExecutor) -> None:
    got: list[Any] = []

    def wait_in_every_way(n: int) -> None:
        got.append(pool.submit(tasks.square, n).result(HANG))
        got.append(pool.submit(tasks.raise_value_error, "no").exception(HANG).args)  # type: ignore[union-attr]
        got.append(len(wait([pool.submit(tasks.square, n)], HANG).done))
        got.append([future.result() for future in as_completed([pool.submit(tasks.square, n)], HANG)])
        got.append(list(pool.map(tasks.square, [1, 2])))

    pool.options(callback=wait_in_every_way).submit(tasks.same, 3).result(HANG)
    assert got == [9, ("no",), 1, [9], [1, 4]]


@pytest.mark.parametrize("how", [{"wait": True}, {"wait": False}, {"cancel_futures": True}])
def test_a_callback_may_shut_the_executor_down(notes: Notes, how: dict[str, bool]) -> None:
    with ProcessPoolExecutor(2) as pool:
        down: list[Any] = []  # it may be the last of them
        pool.options(callback=lambda _: down.append(pool.shutdown(**how))).submit(tasks.nothing)
        for n in range(20):
            pool.options(**notes.both()).submit(tasks.square, n)
        run_until(pool, lambda: down and len(notes) == 20)
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(tasks.nothing)
    assert len(notes) == 20


FAILURES: dict[str, BaseException] = {
    "Exception": LookupError("the callback failed"),
    "SystemExit": SystemExit("the callback failed"),
    "GeneratorExit": GeneratorExit("the callback failed"),
    "CancelledError": asyncio.CancelledError("the callback failed"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_callback_may_raise(
    pool: ProcessPoolExecutor, notes: Notes, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def fail(value: object) -> None:
        raise FAILURES[kind]

    with caplog.at_level(logging.WARNING):
        assert pool.options(callback=fail).submit(tasks.square, 3).result(HANG) == 9
        with pytest.raises(ValueError, match="no"):
            pool.options(error_callback=fail).submit(tasks.raise_value_error, "no").result(HANG)
        pool.options(**notes.both()).submit(tasks.square, 4).result(HANG)
    assert notes.results == [16]
    assert [(record.name, record.levelname) for record in caplog.records] == [("executor", "ERROR")] * 2
    for record in caplog.records:
        assert record.exc_info is not None
        assert record.exc_info[1] is FAILURES[kind]
        assert record.exc_info[2] is not None


def test_ctrl_c_in_a_callback_is_the_programs(pool: ProcessPoolExecutor, notes: Notes) -> None:
    def interrupted(value: object) -> None:
        raise KeyboardInterrupt

    pool.options(callback=interrupted).submit(tasks.nothing)
    pool.options(**notes.both()).submit(tasks.square, 3)
    settle(pool, 2)
    with pytest.raises(KeyboardInterrupt):
        while not len(notes):
            pool.run_callbacks(HANG)
    run_until(pool, lambda: len(notes))
    assert notes.results == [9]


# --- workers stay fed ---------------------------------------------------------------------------------------


def test_workers_stay_fed_while_a_callback_is_slow(pool: ProcessPoolExecutor, notes: Notes) -> None:
    def slow(value: object) -> None:
        # Many times what a worker is given at once; nobody but this thread has waited so far.
        futures = [pool.options(**notes.both()).submit(tasks.square, n) for n in range(2000)]
        eventually(lambda: all(future.done() for future in futures))
        assert len(notes) == 0  # callbacks do wait
        finished.append(len(futures))

    finished: list[int] = []
    pool.options(callback=slow).submit(tasks.nothing).result(HANG)
    assert finished == [2000]
    run_until(pool, lambda: len(notes) == 2000)


def test_replacements_start_while_a_callback_is_slow() -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:

        def slow(value: object) -> None:
            futures = [pool.submit(tasks.pid) for _ in range(4)]
            eventually(lambda: all(future.done() for future in futures))
            pids.update(future.result() for future in futures)

        pids: set[int] = set()
        pool.options(callback=slow).submit(tasks.nothing).result(HANG)
        assert len(pids) == 4


# --- selectors ----------------------------------------------------------------------------------------------


def test_the_executor_is_readable_while_callbacks_wait(pool: ProcessPoolExecutor, notes: Notes) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(pool, selectors.EVENT_READ)
        assert selector.select(0) == []
        for n in range(50):
            pool.options(**notes.both()).submit(tasks.square, n)
        while len(notes) < 50:
            assert selector.select(HANG), "not readable"
            pool.run_callbacks(0)
        assert selector.select(0) == []
    assert notes.threads == {threading.current_thread()}


def test_it_is_readable_if_they_waited_before(pool: ProcessPoolExecutor, notes: Notes) -> None:
    pool.options(**notes.both()).submit(tasks.square, 3)
    settle(pool, 1)
    with selectors.DefaultSelector() as selector:
        selector.register(pool, selectors.EVENT_READ)
        assert selector.select(HANG)
        pool.run_callbacks(0)
        pool.shutdown()
        selector.unregister(pool)
    assert notes.results == [9]


def test_a_callback_that_makes_another_due_leaves_it_readable(pool: ProcessPoolExecutor, notes: Notes) -> None:
    calls = pool.options(callback=lambda n: pool.options(**notes.both()).submit(tasks.square, n))
    with selectors.DefaultSelector() as selector:
        selector.register(pool, selectors.EVENT_READ)
        for n in range(20):
            calls.submit(tasks.same, n)
        while len(notes) < 20:
            assert selector.select(HANG), "not readable"
            pool.run_callbacks(0)


# --- asyncio ------------------------------------------------------------------------------------------------


def test_in_an_asyncio_loop_they_are_scheduled_by_themselves(notes: Notes) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(2) as pool:
            done = asyncio.Event()
            calls = pool.options(callback=lambda n: (notes.result(n), len(notes) == 50 and done.set()))
            for n in range(50):
                calls.submit(tasks.square, n)
            await asyncio.wait_for(done.wait(), HANG)  # nothing of this package is waited for

    asyncio.run(main())
    assert sorted(notes.results) == [n * n for n in range(50)]
    assert notes.threads == {threading.current_thread()}


def test_a_with_block_in_a_coroutine_runs_them_before_it_ends(notes: Notes) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(2) as pool:
            for n in range(20):
                pool.options(**notes.both()).submit(tasks.square, n)
        assert len(notes) == 20  # though the loop had no chance to run any

    asyncio.run(main())
    assert len(notes) == 20


def test_a_blocking_wait_in_a_coroutine_runs_them(notes: Notes) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(2) as pool:
            pool.options(**notes.both()).submit(tasks.square, 3).result(HANG)
            assert notes.results == [9]

    asyncio.run(main())


def test_what_was_submitted_before_the_loop_comes_to_it(notes: Notes) -> None:
    async def main() -> None:
        async with pool:
            await asyncio.to_thread(notes.some.wait, HANG)
            assert notes.results == [9]

    pool = ProcessPoolExecutor(1)
    pool.options(**notes.both()).submit(tasks.square, 3)
    settle(pool, 1)
    asyncio.run(main())
    assert notes.threads == {threading.current_thread()}


def test_after_the_loop_has_ended_they_run_in_the_thread(pool: ProcessPoolExecutor, notes: Notes, gate: Gate) -> None:
    async def main() -> None:
        pool.options(**notes.both()).submit(tasks.stop_at, gate, "late")

    asyncio.run(main())
    gate.open()
    run_until(pool, lambda: len(notes))
    assert notes.results == ["late"]


def test_a_second_loop_gets_what_is_due_in_its_time(pool: ProcessPoolExecutor, notes: Notes) -> None:
    async def main(n: int) -> None:
        pool.options(**notes.both()).submit(tasks.square, n)
        await asyncio.to_thread(eventually, lambda: len(notes) == n + 1)

    for n in range(3):
        asyncio.run(main(n))
    assert notes.results == [0, 1, 4]


def test_one_that_raises_in_a_loop_is_logged_the_same(notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    def fail(value: object) -> None:
        raise LookupError("the callback failed")

    async def main() -> None:
        async with ProcessPoolExecutor(1) as pool:
            pool.options(callback=fail).submit(tasks.nothing)
            pool.options(**notes.both()).submit(tasks.square, 3)

    asyncio.run(main())
    assert [(record.name, record.levelname) for record in caplog.records] == [("executor", "ERROR")]
    assert notes.results == [9]


# --- other threads ------------------------------------------------------------------------------------------


class Reader(threading.Thread):
    """A thread that runs the callbacks of an executor until it is told to end."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        super().__init__()
        self.pool = pool
        self.told = threading.Event()
        self.ran = 0

    def run(self) -> None:
        while not self.told.is_set():
            self.ran += self.pool.run_callbacks(0.01) or self.told.wait(0.001)

    def end(self) -> None:
        self.told.set()
        self.join(HANG)


def test_another_thread_may_be_named(notes: Notes) -> None:
    with ProcessPoolExecutor(2) as pool:
        reader = Reader(pool)
        reader.start()
        calls = pool.options(callback_thread=reader, **notes.both())
        wait([calls.submit(tasks.square, n) for n in range(50)], HANG)
    assert len(notes) == 50  # before `with` ended
    assert notes.threads == {reader}
    reader.end()


def test_the_named_thread_runs_them_in_a_wait(pool: ProcessPoolExecutor, notes: Notes, gate: Gate) -> None:
    late = pool.submit(tasks.stop_at, gate)
    reader = threading.Thread(target=late.result)
    named = pool.options(callback=lambda n: (notes.result(n), gate.open()), callback_thread=reader)
    reader.start()
    early = named.submit(tasks.square, 3)
    wait([late, early], HANG)
    reader.join(HANG)
    assert notes.results == [9]
    assert notes.threads == {reader}


def test_the_parent_thread_may_be_named(pool: ProcessPoolExecutor, notes: Notes) -> None:
    pool.options(callback_thread=threading.current_thread(), **notes.both()).submit(tasks.square, 3).result(HANG)
    assert notes.results == [9]


@pytest.mark.parametrize("started", [True, False])
def test_an_asyncio_loop_may_be_named(notes: Notes, started: bool) -> None:
    loop = asyncio.new_event_loop()
    runner = threading.Thread(target=loop.run_forever)
    with ProcessPoolExecutor(1) as pool:
        if started:
            runner.start()
        pool.options(callback_thread=loop, **notes.both()).submit(tasks.square, 3).result(HANG)
        if not started:
            assert len(notes) == 0
            runner.start()
    assert notes.results == [9]
    assert notes.threads == {runner}
    loop.call_soon_threadsafe(loop.stop)
    runner.join(HANG)
    loop.close()


def test_the_callbacks_of_a_closed_loop_run_all_the_same(notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with ProcessPoolExecutor(1) as pool:
        pool.options(callback_thread=loop, **notes.both()).submit(tasks.square, 3).result(HANG)
    assert notes.results == [9]
    assert len(caplog.records) == 1


# --- the parent thread has ended ----------------------------------------------------------------------------


def made_in_a_thread_that_ends(max_workers: int, then: Callable[[ProcessPoolExecutor], Any]) -> Any:
    def make() -> Any:
        pool = ProcessPoolExecutor(max_workers)
        return pool, then(pool)

    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(make()))
    thread.start()
    thread.join()
    return made[0]


def test_if_the_parent_thread_has_ended_they_run_elsewhere_and_the_log_says_so_once(
    notes: Notes, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def submit(pool: ProcessPoolExecutor) -> None:
        for n in range(20):
            pool.options(**notes.both()).submit(tasks.stop_at, gate, n)

    pool, _ = made_in_a_thread_that_ends(2, submit)
    gate.open()
    eventually(lambda: len(notes) == 20)  # by themselves: nobody waits
    pool.options(**notes.both()).submit(tasks.square, 5)
    eventually(lambda: len(notes) == 21)
    assert notes.threads.isdisjoint({threading.current_thread()})
    assert [(record.name, record.levelname) for record in caplog.records] == [("executor", "WARNING")]
    pool.shutdown()


def test_what_was_due_when_the_parent_thread_ended_runs_before_the_shutdown_ends(notes: Notes) -> None:
    def submit(pool: ProcessPoolExecutor) -> None:
        pool.options(**notes.both()).submit(tasks.square, 3)
        settle(pool, 1)

    pool, _ = made_in_a_thread_that_ends(1, submit)
    pool.shutdown()
    assert notes.results == [9]


def test_an_orphaned_callback_may_do_as_any(notes: Notes, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    def callback(pool: ProcessPoolExecutor, n: int) -> None:
        notes.result(pool.submit(tasks.square, n).result(HANG))
        pool.shutdown(wait=False)
        raise GeneratorExit("the callback failed")

    def submit(pool: ProcessPoolExecutor) -> Any:
        return pool.options(callback=partial(callback, pool)).submit(tasks.stop_at, gate, 4)

    pool, future = made_in_a_thread_that_ends(1, submit)
    gate.open()
    assert future.result(HANG) == 4
    eventually(lambda: notes.results == [16])
    pool.shutdown()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


def test_those_of_a_named_thread_that_has_ended_run_before_with_ends(
    notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    named = threading.Thread(target=int)
    named.start()
    named.join()
    with ProcessPoolExecutor(1) as pool:
        pool.options(callback_thread=named, **notes.both()).submit(tasks.square, 3)
    assert notes.results == [9]
    assert len(caplog.records) == 1


# --- the standard's own ------------------------------------------------------------------------------------


def test_add_done_callback_keeps_its_meaning(pool: ProcessPoolExecutor) -> None:
    """Called at once, with the future, in whatever thread; this one does not wait for anything of the package."""
    called = threading.Event()
    futures: list[Any] = []
    future = pool.submit(tasks.square, 3)
    future.add_done_callback(lambda it: (futures.append(it), called.set()))
    assert called.wait(HANG)
    future.add_done_callback(futures.append)
    assert futures == [future, future]
