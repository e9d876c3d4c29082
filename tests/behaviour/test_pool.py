"""Pool: every method of multiprocessing.Pool, and what that one gets wrong."""

from __future__ import annotations

import gc
import itertools
import logging
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest

from executor import InitializerError, Pool, WorkerLost
from tests import tasks
from tests.support import HANG, ROOT, Gate, eventually, told, wait_gone

# --- the methods --------------------------------------------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as pool:
        yield pool


def test_the_methods_under_every_start_method(start_method: str) -> None:
    pairs = [(1, 2), (3, 4), (5, 6)]
    with Pool(2, context=start_method) as pool:
        assert pool.apply(tasks.capture, (1, 2), {"c": 3}) == ((1, 2), {"c": 3})
        assert pool.apply_async(tasks.square, (7,)).get(HANG) == 49
        assert pool.map(tasks.square, range(50)) == [i * i for i in range(50)]
        assert pool.map_async(tasks.square, range(50)).get(HANG) == [i * i for i in range(50)]
        assert pool.starmap(tasks.add, pairs) == [3, 7, 11]
        assert pool.starmap_async(tasks.multiply, pairs).get(HANG) == [2, 12, 30]
        assert list(pool.imap(tasks.square, range(50))) == [i * i for i in range(50)]
        assert sorted(pool.imap_unordered(tasks.square, range(50))) == [i * i for i in range(50)]


def test_a_context_object_sets_the_start_method() -> None:
    with Pool(1, context=multiprocessing.get_context("fork")) as pool:
        assert pool.apply(os.getppid) == os.getpid()


@pytest.mark.parametrize("chunksize", [1, 2, 7, 1000])
def test_chunks_do_not_show_in_results(pool: Pool, chunksize: int) -> None:
    squares = [i * i for i in range(20)]
    assert pool.map(tasks.square, range(20), chunksize) == squares
    assert pool.map(tasks.square, iter(range(20)), chunksize) == squares
    assert pool.starmap(tasks.multiply, zip(range(20), range(20), strict=True), chunksize) == squares
    assert list(pool.imap(tasks.square, range(20), chunksize)) == squares
    assert sorted(pool.imap_unordered(tasks.square, range(20), chunksize)) == squares


@pytest.mark.parametrize("chunksize", [0, -1])
def test_a_chunk_has_an_item_at_least(pool: Pool, chunksize: int) -> None:
    for method in (
        pool.map,
        pool.map_async,
        pool.starmap,
        pool.starmap_async,
        pool.imap,
        pool.imap_unordered,
    ):
        with pytest.raises(ValueError, match="Chunksize must be 1\\+"):
            method(tasks.square, [1], chunksize)


def test_nothing_to_do(pool: Pool) -> None:
    assert pool.map(tasks.square, []) == []
    assert pool.starmap_async(tasks.add, []).get(HANG) == []
    assert list(pool.imap(tasks.square, [])) == []
    assert list(pool.imap_unordered(tasks.square, iter([]), 3)) == []


def test_unordered_results_come_as_they_are_done(pool: Pool, gate: Gate) -> None:
    results = pool.imap_unordered(wait_if_first, [(gate, n) for n in range(4)])
    assert sorted(next(results) for _ in range(3)) == [1, 2, 3]
    gate.open()
    assert list(results) == [0]


def wait_if_first(item: tuple[Gate, int]) -> int:
    gate, n = item
    if n == 0:
        gate.stop()
    return n


def test_the_initializer_runs_first(start_method: str) -> None:
    with Pool(2, tasks.set_greeting, ("hello",), context=start_method) as pool:
        assert set(pool.map(tasks.get_greeting, range(10), 1)) == {"hello"}


def test_maxtasksperchild_counts_chunks(start_method: str) -> None:
    with Pool(1, maxtasksperchild=1, context=start_method) as pool:
        first, second, third, fourth = pool.map(tasks.pid, range(4), chunksize=2)
        assert first == second != third == fourth
        assert pool.apply(tasks.pid) not in (first, third)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"processes": 0}, ValueError, "Number of processes must be at least 1"),
        ({"processes": -1}, ValueError, "Number of processes must be at least 1"),
        ({"maxtasksperchild": 0}, ValueError, "maxtasksperchild must be a positive int or None"),
        ({"maxtasksperchild": 0.5}, ValueError, "maxtasksperchild must be a positive int or None"),
        ({"initializer": 5}, TypeError, "initializer must be a callable"),
    ],
)
def test_arguments_are_checked_as_in_multiprocessing(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    for make in (Pool, multiprocessing.Pool):
        with pytest.raises(error, match=f"^{message}$"):
            make(**{"processes": 1, **arguments})


def test_a_pool_cannot_be_pickled(pool: Pool) -> None:
    with pytest.raises(NotImplementedError, match="cannot be passed between processes"):
        pickle.dumps(pool)


def test_repr_tells_state_and_size() -> None:
    pool = Pool(3)
    assert repr(pool) == "<executor._pool.Pool state=RUN pool_size=3>"
    pool.close()
    assert "state=CLOSE" in repr(pool)
    pool.terminate()
    assert "state=TERMINATE" in repr(pool)


# --- AsyncResult --------------------------------------------------------------------------------------------


def test_a_result_that_is_not_there_yet(pool: Pool, gate: Gate) -> None:
    for result in (pool.apply_async(tasks.stop_at, (gate, 5)), pool.map_async(tasks.stop_at, [gate])):
        assert not result.ready()
        result.wait(0.01)
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(timeout=0)


def test_a_result_that_is_there(pool: Pool) -> None:
    result = pool.apply_async(tasks.square, (3,))
    result.wait(HANG)
    assert result.ready()
    assert result.successful()
    assert [result.get(), result.get(timeout=0)] == [9, 9]


def test_a_call_that_raised(pool: Pool) -> None:
    result = pool.apply_async(tasks.raise_value_error, ("broken",))
    result.wait(HANG)
    assert result.ready()
    assert not result.successful()
    for _ in range(2):
        with pytest.raises(ValueError, match="broken") as raised:
            result.get()
        assert "in raise_value_error" in told(raised.value)


def test_a_call_that_raises_a_timeout_is_no_timeout_of_get(pool: Pool) -> None:
    with pytest.raises(TimeoutError, match="its own"):
        pool.apply_async(tasks.raise_error, (TimeoutError("its own"),)).get(HANG)


def test_a_map_raises_the_error_of_its_first_bad_item_when_all_is_done(pool: Pool, tmp_path: Any) -> None:
    notes = tmp_path / "notes"
    result = pool.starmap_async(fail_and_note, [(str(notes), n) for n in range(6)], chunksize=1)
    with pytest.raises(ValueError, match="bad 2"):
        result.get(HANG)
    assert not result.successful()
    assert sorted(notes.read_text().split()) == list("012345")


def fail_and_note(path: str, n: int) -> None:
    tasks.append_line(path, str(n))
    if n in (2, 4):
        raise ValueError(f"bad {n}")


def test_an_iterable_that_raises(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.map(tasks.square, (1 // n for n in (1, 0)))
    for imap in (pool.imap, pool.imap_unordered):
        results = imap(tasks.square, (2 // n for n in (1, 2, 0)))
        assert sorted([next(results), next(results)]) == [1, 4]
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []


def test_a_result_that_cannot_be_pickled_costs_its_call_only(pool: Pool, notes: Notes) -> None:
    for _ in range(20):
        with pytest.raises(ValueError, match="refuses to be pickled"):
            pool.apply_async(tasks.make_unpicklable, (), **both(notes)).get(HANG)
    assert len(notes.errors) == 20
    with pytest.raises(ValueError, match="refuses to be pickled"):
        pool.map(tasks.same, [tasks.CannotPickle()])
    assert pool.apply(return_a_lambda)(4) == 5


def return_a_lambda() -> Callable[[int], int]:
    return lambda n: n + 1


def test_results_are_read_in_several_threads(pool: Pool) -> None:
    results = pool.imap(tasks.same, range(300))
    with ThreadPoolExecutor(3) as threads:
        parts = [threads.submit(list, results) for _ in range(3)]
        assert sorted(itertools.chain(*(part.result(HANG) for part in parts))) == list(range(300))


# --- callbacks ----------------------------------------------------------------------------------------------


class Notes:
    """Callbacks that note what they were given, and in which thread."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[str] = []
        self.threads: set[int] = set()

    def result(self, value: Any) -> None:
        self.results.append(value)
        self.threads.add(threading.get_ident())

    def error(self, error: BaseException) -> None:
        self.errors.append(repr(error))
        self.threads.add(threading.get_ident())


@pytest.fixture
def notes() -> Notes:
    return Notes()


def both(notes: Notes) -> dict[str, Any]:
    return {"callback": notes.result, "error_callback": notes.error}


WAYS_TO_WAIT: dict[str, Callable[[Any], object]] = {
    "get": lambda result: result.get(HANG),
    "wait": lambda result: result.wait(HANG),
    "ready": lambda result: eventually(result.ready),
    "successful": lambda result: (eventually(result.ready), result.successful()),
}


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_a_callback_has_run_in_this_thread_when_the_result_is_there(
    pool: Pool, notes: Notes, way: str
) -> None:
    for n in range(100):
        WAYS_TO_WAIT[way](pool.apply_async(tasks.square, (n,), **both(notes)))
        assert len(notes.results) == n + 1
    WAYS_TO_WAIT[way](pool.map_async(tasks.square, [2, 3], 1, **both(notes)))
    WAYS_TO_WAIT[way](pool.starmap_async(tasks.add, [(1, 2)], **both(notes)))
    assert notes.results == [*(n * n for n in range(100)), [4, 9], [3]]
    assert not notes.errors
    assert notes.threads == {threading.get_ident()}


def test_an_error_callback_gets_the_error(pool: Pool, notes: Notes) -> None:
    pool.apply_async(tasks.raise_value_error, ("no",), **both(notes)).wait(HANG)
    pool.starmap_async(tasks.error_on, [(n, n) for n in range(4)], 1, **both(notes)).wait(HANG)
    assert notes.errors == ["ValueError('no')", "ValueError('bad 0')"]
    assert not notes.results
    assert notes.threads == {threading.get_ident()}


def test_one_callback_may_be_left_out(pool: Pool, notes: Notes) -> None:
    pool.apply_async(tasks.square, (2,), error_callback=notes.error).get(HANG)
    pool.apply_async(tasks.raise_value_error, ("no",), callback=notes.result).wait(HANG)
    pool.map_async(tasks.square, (2,), error_callback=notes.error).get(HANG)
    pool.map_async(tasks.raise_value_error, ["no"], callback=notes.result).wait(HANG)
    assert not notes.results
    assert not notes.errors


def test_the_callback_of_an_empty_map_is_called(pool: Pool, notes: Notes) -> None:
    assert pool.map_async(tasks.square, [], **both(notes)).get(HANG) == []
    assert notes.results == [[]]


def test_callbacks_run_in_join(notes: Notes) -> None:
    pool = Pool(2)
    for n in range(50):
        pool.apply_async(tasks.square, (n,), **both(notes))
    pool.map_async(tasks.square, range(10), 2, **both(notes))
    pool.close()
    assert notes.results == []
    pool.join()
    assert sorted(notes.results, key=str) == sorted(
        [*(n * n for n in range(50)), [n * n for n in range(10)]], key=str
    )
    assert notes.threads == {threading.get_ident()}


def test_callbacks_run_while_an_imap_is_read(pool: Pool, notes: Notes, gate: Gate) -> None:
    results = pool.imap(tasks.stop_at, [gate])
    called = pool.apply_async(tasks.square, (3,), callback=lambda value: (notes.result(value), gate.open()))
    assert list(results) == [None]  # the callback is what lets it end
    assert notes.results == [called.get(HANG)] == [9]


def test_a_callback_may_use_what_belongs_to_this_thread(pool: Pool) -> None:
    with sqlite3.connect(":memory:", check_same_thread=True) as table:
        table.execute("create table squares (n)")
        for n in range(10):
            pool.apply_async(
                tasks.square, (n,), callback=lambda n: table.execute("insert into squares values (?)", [n])
            )
        pool.close()
        pool.join()
        assert table.execute("select sum(n) from squares").fetchone() == (285,)
    table.close()


def test_a_callback_may_go_on_with_the_pool(pool: Pool, notes: Notes) -> None:
    inner: list[Any] = []
    pool.apply_async(
        tasks.square, (3,), callback=lambda n: inner.append(pool.apply(tasks.square, (n,)))
    ).wait(HANG)
    assert inner == [81]
    pool.apply_async(tasks.square, (4,), callback=lambda _: pool.terminate()).wait(HANG)
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(tasks.square, (1,))


def test_a_raising_callback_does_not_hang_the_pool(
    pool: Pool, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(value: object) -> None:
        notes.result(value)
        raise LookupError("the callback failed")

    with caplog.at_level(logging.ERROR, "executor"):
        assert pool.apply_async(tasks.square, (3,), callback=fail).get(HANG) == 9
        with pytest.raises(ValueError, match="no"):
            pool.apply_async(tasks.raise_value_error, ("no",), error_callback=fail).get(HANG)
        assert pool.map_async(tasks.square, range(3), 1, callback=fail).get(HANG) == [0, 1, 4]
    assert len(notes.results) == 3
    assert len(caplog.records) == 3
    assert all("the callback failed" in str(record.exc_info) for record in caplog.records)
    assert pool.map(tasks.square, range(10)) == [n * n for n in range(10)]
    pool.close()
    pool.join()


def test_another_thread_does_not_wait_for_callbacks(pool: Pool, notes: Notes) -> None:
    def work() -> list[Any]:
        one = pool.apply_async(tasks.square, (3,), **both(notes))
        many = pool.map_async(tasks.square, range(3), 1, **both(notes))
        return [one.get(HANG), many.get(HANG)]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(work).result(HANG) == [9, [0, 1, 4]]
    assert notes.results == []
    pool.close()
    pool.join()
    assert sorted(notes.results, key=str) == [9, [0, 1, 4]]
    assert notes.threads == {threading.get_ident()}


# --- killed workers -----------------------------------------------------------------------------------------


def test_a_killed_worker_does_not_hang_get(start_method: str, notes: Notes) -> None:
    with Pool(2, context=start_method) as pool:
        killed = pool.apply_async(tasks.kill_itself, (signal.SIGKILL,), **both(notes))
        others = [pool.apply_async(tasks.square, (n,)) for n in range(20)]
        with pytest.raises(WorkerLost, match="SIGKILL"):
            killed.get(HANG)
        assert len(notes.errors) == 1
        assert [other.get(HANG) for other in others] == [n * n for n in range(20)]


def die_on(bad: int, n: int) -> int:
    if n == bad:
        os._exit(7)
    return n


def test_a_killed_worker_fails_its_map_and_nothing_else(pool: Pool) -> None:
    other = pool.map_async(tasks.square, range(50), chunksize=1)
    with pytest.raises(WorkerLost, match="exit code 7"):
        pool.starmap(die_on, [(5, n) for n in range(20)], chunksize=2)
    assert other.get(HANG) == [n * n for n in range(50)]
    assert pool.starmap(die_on, [(5, n) for n in range(3)]) == [0, 1, 2]


def test_a_killed_worker_costs_an_imap_one_item(pool: Pool) -> None:
    results = pool.imap(die_on_5, range(10))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(WorkerLost):
        next(results)
    assert list(results) == [6, 7, 8, 9]


def die_on_5(n: int) -> int:
    return die_on(5, n)


def test_a_failing_initializer_fails_the_calls() -> None:
    with Pool(1, tasks.raise_value_error, ("not today",)) as pool:
        with pytest.raises(InitializerError) as raised:
            pool.apply(tasks.square, (1,))
        assert "not today" in told(raised.value)


# --- imap, lazily -------------------------------------------------------------------------------------------


class Source:
    """An endless iterable that counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.taken += 1
        return self.taken - 1


MOST_AHEAD = 512  # items or chunks for each process


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_an_endless_iterable_is_read_a_bounded_way_ahead(pool: Pool, name: str) -> None:
    source = Source()
    results = getattr(pool, name)(tasks.same, source)
    for n in range(3000):
        next(results)
        assert source.taken <= n + 1 + 2 * MOST_AHEAD


def test_an_endless_iterable_is_read_in_chunks(pool: Pool) -> None:
    source = Source()
    results = pool.imap(tasks.same, source, chunksize=3)
    assert [next(results) for _ in range(1000)] == list(range(1000))
    assert source.taken % 3 == 0


def test_long_tasks_are_read_few_ahead(pool: Pool, gate: Gate) -> None:
    source = Source()
    results = pool.imap(tasks.stop_at, (gate for _ in source))
    gate.wait_arrivals(2)
    assert source.taken <= 4
    gate.open()
    assert [next(results) for _ in range(20)] == [None] * 20


def test_a_pool_serves_others_beside_an_endless_imap(pool: Pool) -> None:
    first, second = (pool.imap(tasks.same, Source()) for _ in range(2))
    for n in range(50):
        assert next(first) == next(second) == n
    assert pool.map(tasks.square, range(10)) == [n * n for n in range(10)]


def test_results_do_not_wait_for_the_iterable(pool: Pool) -> None:
    seen = threading.Event()

    def ask_after_the_answer() -> Iterator[int]:
        yield 2
        assert seen.wait(HANG)
        yield 3

    for chunksize in (1, 1):
        seen.clear()
        results = pool.imap(tasks.square, ask_after_the_answer(), chunksize)
        assert next(results) == 4
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(timeout=0.01)
        seen.set()
        assert results.next(timeout=HANG) == 9
        with pytest.raises(StopIteration):
            results.next(timeout=HANG)


def test_an_imap_that_nobody_reads_is_finished_by_join(tmp_path: Any) -> None:
    marks = [str(tmp_path / str(n)) for n in range(3000)]
    pool = Pool(2)
    pool.imap_unordered(tasks.touch, iter(marks))
    pool.close()
    pool.join()
    assert len(os.listdir(tmp_path)) == 3000


def test_a_collection_is_worked_through_before_its_results_are_read(pool: Pool, tmp_path: Any) -> None:
    marks = [str(tmp_path / str(n)) for n in range(3000)]
    results = pool.imap(tasks.touch, marks)
    eventually(lambda: len(os.listdir(tmp_path)) == 3000)
    assert list(results) == marks


def test_an_imap_is_read_to_its_end_after_close() -> None:
    pool = Pool(2)
    results = pool.imap(tasks.same, iter(range(3000)))
    pool.close()
    assert list(results) == list(range(3000))
    pool.join()


def test_terminate_ends_an_imap_that_waits_for_its_iterable(pool: Pool) -> None:
    goes_on = threading.Event()

    def wait_once() -> Iterator[int]:
        goes_on.wait(HANG)
        yield 1

    results = pool.imap(tasks.same, wait_once())
    with ThreadPoolExecutor(1) as thread:
        reader = thread.submit(next, results)
        pool.terminate()
        with pytest.raises(CancelledError):
            reader.result(HANG)
    goes_on.set()  # its thread ends


# --- the end ------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Pool], object]] = {
    "apply": lambda pool: pool.apply(tasks.square, (1,)),
    "apply_async": lambda pool: pool.apply_async(tasks.square, (1,)),
    "map": lambda pool: pool.map(tasks.square, [1]),
    "map_async": lambda pool: pool.map_async(tasks.square, [1]),
    "starmap": lambda pool: pool.starmap(tasks.add, [(1, 2)]),
    "starmap_async": lambda pool: pool.starmap_async(tasks.add, [(1, 2)]),
    "imap": lambda pool: pool.imap(tasks.square, [1]),
    "imap_unordered": lambda pool: pool.imap_unordered(tasks.square, [1]),
    "with": lambda pool: pool.__enter__(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_pool_that_has_ended_takes_no_work(call: str, end: str) -> None:
    pool = Pool(1)
    getattr(pool, end)()
    with pytest.raises(ValueError, match=r"^Pool not running$"):
        CALLS[call](pool)
    pool.join()


def test_a_running_pool_cannot_be_joined(pool: Pool) -> None:
    with pytest.raises(ValueError, match=r"^Pool is still running$"):
        pool.join()


def test_close_and_join_finish_the_work_and_the_workers(start_method: str) -> None:
    pool = Pool(2, context=start_method)
    pids = [pool.apply_async(tasks.pid) for _ in range(10)]
    numbers = pool.map_async(tasks.square, range(100), chunksize=1)
    pool.close()
    pool.close()
    pool.join()
    assert numbers.get(0) == [n * n for n in range(100)]
    wait_gone(*{pid.get(0) for pid in pids})
    pool.join()


def test_terminate_stops_what_runs_and_cancels_what_waits(
    start_method: str, gate: Gate, notes: Notes
) -> None:
    pool = Pool(2, context=start_method)
    running = [pool.apply_async(tasks.stop_at, (gate,)) for _ in range(2)]
    waiting = pool.map_async(tasks.square, range(1000), chunksize=1)
    pids = gate.wait_arrivals(2)
    pool.terminate()
    wait_gone(*pids)
    for result in running:
        with pytest.raises((WorkerLost, CancelledError)):
            result.get(HANG)
    with pytest.raises(CancelledError):
        waiting.get(HANG)
    assert not waiting.successful()
    pool.terminate()
    pool.join()


def test_the_end_of_with_terminates(gate: Gate) -> None:
    with Pool(1) as pool:
        result = pool.apply_async(tasks.stop_at, (gate,))
        (pid,) = gate.wait_arrivals()
    wait_gone(pid)
    with pytest.raises((WorkerLost, CancelledError)):
        result.get(HANG)


def test_a_task_that_ignores_sigterm_does_not_hold_up_terminate(gate: Gate) -> None:
    with Pool(1) as pool:
        pool.apply_async(ignore_sigterm, (gate,))
        (pid,) = gate.wait_arrivals()
    wait_gone(pid)


def ignore_sigterm(gate: Gate) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gate.stop()


@pytest.mark.parametrize("use", ["nothing", "call", "imap"])
def test_a_pool_that_is_dropped_leaves_nothing(use: str) -> None:
    # What is left, the fixture of all tests finds.
    pools = [Pool(2)]
    if use == "call":
        assert pools[0].apply(tasks.square, (2,)) == 4
    if use == "imap":
        assert next(pools[0].imap(tasks.same, Source())) == 0
    dropped = weakref.ref(pools[0])
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        drop(pools)
    assert dropped() is None  # the recorded warning had kept it


def drop(things: list[Any]) -> None:
    things.clear()
    gc.collect()


def test_work_of_a_dropped_pool_is_finished() -> None:
    pools = [Pool(2)]
    results = [pools[0].apply_async(tasks.square, (n,)) for n in range(100)]
    with pytest.warns(ResourceWarning):
        drop(pools)
    assert [result.get(HANG) for result in results] == [n * n for n in range(100)]


def test_results_that_are_kept_do_not_keep_the_workers() -> None:
    pools = [Pool(1)]
    pid = pools[0].apply(tasks.pid)
    result, results = pools[0].apply_async(tasks.square, (2,)), pools[0].imap(tasks.square, [2])
    assert list(results) == [4]
    with pytest.warns(ResourceWarning):
        drop(pools)
    wait_gone(pid)
    assert result.get(HANG) == 4
    assert list(results) == []


def test_an_imap_keeps_its_pool_alive() -> None:
    results = [Pool(2).imap(tasks.same, range(100))]
    gc.collect()
    assert [next(results[0]) for _ in range(100)] == list(range(100))
    with pytest.warns(ResourceWarning):
        drop(results)


@pytest.mark.parametrize(
    "start", ["pool.apply_async(time.sleep, (1000,))", "pool.imap(abs, itertools.count())"]
)
def test_a_pool_that_is_left_open_does_not_hold_up_the_end_of_the_program(start: str) -> None:
    program = f"""
import itertools, time, executor
if __name__ == "__main__":
    pool = executor.Pool(2)
    kept = {start}
    print(pool.map(abs, [-1, -2]), flush=True)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG, check=False, cwd=ROOT
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[1, 2]\n", "")


def test_a_program_may_end_with_a_pool_in_a_global(tmp_path: Any) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "import executor, operator; pool = executor.Pool(1); pool.map(operator.neg, [1])",
        ],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        cwd=ROOT,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
