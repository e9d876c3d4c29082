"""Pool: every method of multiprocessing.Pool, and a worker that is killed hangs none of them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import MaybeEncodingError
from typing import Any

import pytest

from executor import InitializerError, Pool, WorkerLost
from tests import tasks
from tests.support import HANG, Gate, told


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


def test_a_result_that_cannot_be_pickled_costs_its_call_only(pool: Pool) -> None:
    errors: list[BaseException] = []
    for _ in range(20):
        with pytest.raises(MaybeEncodingError, match=r"Error sending result: '<.*CannotPickle object at .*>'. Reason"):
            pool.apply_async(tasks.make_unpicklable, (), error_callback=errors.append).get(HANG)
    assert len(errors) == 20
    assert isinstance(errors[0], MaybeEncodingError)
    assert errors[0].exc == "ValueError('this refuses to be pickled')"
    with pytest.raises(MaybeEncodingError, match="return_a_lambda"):
        pool.map(call, [return_a_lambda])
    with pytest.raises(MaybeEncodingError, match="return_a_lambda"):
        next(pool.imap(call, [return_a_lambda]))
    with pytest.raises(ValueError, match="refuses to be pickled"):
        pool.map(tasks.same, [tasks.CannotPickle()])
    assert pool.apply(lambda n: n + 1, (4,)) == 5


def test_what_cannot_be_pickled_is_told_as_there() -> None:
    """Also of what plain pickle alone cannot do: pipes travel, so what is beside them is looked at again."""
    told_by = []
    for kind in (multiprocessing.Pool, Pool):
        with kind(1) as pool, pytest.raises(MaybeEncodingError) as raised:
            pool.apply(return_a_generator)
        told_by.append(re.sub("0x[0-9a-f]+", "", str(raised.value)))
    assert told_by[0] == told_by[1]
    with Pool(1) as pool, pytest.raises(MaybeEncodingError, match="lambda"):
        pool.apply(return_a_pipe_and_a_lambda)


def test_results_of_classes_that_only_the_main_module_has() -> None:
    program = """
from executor import Pool
class Point:
    def __init__(self, x):
        self.x, self.more = x, lambda: x + 1
def point(x):
    return Point(x)
with Pool(1) as pool:
    result = pool.apply(point, (3,))
    print(type(result) is Point, result.x, result.more())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG, check=False)
    assert (run.stdout, run.stderr) == ("True 3 4\n", "")


def return_a_generator() -> Iterator[int]:
    return iter(n for n in (1,))


def return_a_pipe_and_a_lambda() -> Any:
    return multiprocessing.Pipe(), lambda: 0


def call(function: Callable[[], Any]) -> Any:
    return function()


def return_a_lambda() -> Callable[[int], int]:
    return lambda n: n + 1


def test_results_are_read_in_several_threads(pool: Pool) -> None:
    results = pool.imap(tasks.same, range(300))
    with ThreadPoolExecutor(3) as threads:
        parts = [threads.submit(list, results) for _ in range(3)]
        assert sorted(itertools.chain(*(part.result(HANG) for part in parts))) == list(range(300))


# --- killed workers -----------------------------------------------------------------------------------------


def test_a_killed_worker_does_not_hang_get(start_method: str) -> None:
    errors: list[BaseException] = []
    with Pool(2, context=start_method) as pool:
        killed = pool.apply_async(tasks.kill_itself, (signal.SIGKILL,), error_callback=errors.append)
        others = [pool.apply_async(tasks.square, (n,)) for n in range(20)]
        with pytest.raises(WorkerLost, match="SIGKILL"):
            killed.get(HANG)
        assert len(errors) == 1
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
