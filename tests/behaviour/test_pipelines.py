"""Futures as arguments, `then`, maps that go on after an error, and how far they read ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from itertools import count, islice
from typing import Any

import pytest

from executor import (
    DependencyFailed,
    Future,
    ProcessPoolExecutor,
    WorkerLost,
    as_completed,
    wait,
)
from tests import tasks
from tests.support import HANG, Gate


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as pool:
        yield pool


# --- futures as arguments -----------------------------------------------------------------------------------


def test_the_call_gets_the_results(pool: ProcessPoolExecutor) -> None:
    two, three = pool.submit(tasks.same, 2), pool.submit(tasks.same, 3)
    assert pool.submit(tasks.add, two, three).result(HANG) == 5
    assert pool.submit(tasks.add, two, 40).result(HANG) == 42
    assert pool.submit(tasks.add, a=two, b=three).result(HANG) == 5
    assert pool.submit(tasks.capture, two, 0, x=three).result(HANG) == ((2, 0), {"x": 3})


def test_one_future_may_be_given_twice(pool: ProcessPoolExecutor) -> None:
    two = pool.submit(tasks.same, 2)
    assert pool.submit(tasks.capture, two, two, x=two).result(HANG) == ((2, 2), {"x": 2})


def test_the_call_starts_when_they_are_done(pool: ProcessPoolExecutor, gate: Gate, tmp_path: Any) -> None:
    late = pool.submit(tasks.stop_at, gate, str(tmp_path / "ran"))
    call = pool.submit(tasks.touch, late)
    for _ in range(20):  # others run: it is not for want of a worker
        pool.submit(tasks.nothing).result(HANG)
    assert not call.done()
    assert not call.running()
    assert not (tmp_path / "ran").exists()
    gate.open()
    assert call.result(HANG) == str(tmp_path / "ran")


def test_whoever_waits_for_others_takes_no_worker(gate: Gate) -> None:
    """Also when they come in the wrong order: with one worker it would wait for ever."""
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(tasks.stop_at, gate, 1)
        chain = first
        for _ in range(50):
            chain = pool.submit(tasks.add, chain, 1)
        gate.open()
        assert chain.result(HANG) == 51


def test_a_diamond(pool: ProcessPoolExecutor) -> None:
    top = pool.submit(tasks.same, 3)
    left, right = pool.submit(tasks.add, top, 1), pool.submit(tasks.multiply, top, 10)
    assert pool.submit(tasks.add, left, right).result(HANG) == 34


def test_only_at_the_top_level(pool: ProcessPoolExecutor) -> None:
    done = pool.submit(tasks.same, 2)
    done.result(HANG)
    with pytest.raises(Exception, match="pickle"):
        pool.submit(tasks.same, [done]).result(HANG)


@pytest.mark.parametrize("when", ["before", "after"])
def test_if_one_fails_so_does_the_call_with_that_very_exception_as_cause(
    pool: ProcessPoolExecutor, gate: Gate, tmp_path: Any, when: str
) -> None:
    if when == "before":
        gate.open()
    good, bad = pool.submit(tasks.same, 1), pool.submit(fail_at, gate, "no")
    if when == "before":
        wait([good, bad], HANG)
    call = pool.submit(record_call, str(tmp_path / "ran"), good, x=bad)
    gate.open()
    with pytest.raises(DependencyFailed, match="record_call did not run") as raised:
        call.result(HANG)
    assert raised.value.__cause__ is bad.exception()
    assert not (tmp_path / "ran").exists()


def record_call(path: str, *args: object, **kwargs: object) -> None:
    tasks.touch(path)


def fail_at(gate: Gate, text: str) -> None:
    gate.stop()
    raise ValueError(text)


def test_a_lost_worker_is_a_cause_too(pool: ProcessPoolExecutor) -> None:
    lost = pool.submit(tasks.kill_itself, 9)
    error = pool.submit(tasks.same, lost).exception(HANG)
    assert isinstance(error, DependencyFailed)
    assert isinstance(error.__cause__, WorkerLost)
    assert error.__cause__ is lost.exception()


def test_a_failure_goes_down_the_whole_chain(pool: ProcessPoolExecutor) -> None:
    bad = pool.submit(tasks.raise_value_error, "no")
    error = bad.then(tasks.add, 1).then(tasks.add, 1).exception(HANG)
    causes = []
    while error is not None:
        causes.append(type(error))
        error = error.__cause__ if isinstance(error, DependencyFailed) else None
    assert causes == [DependencyFailed, DependencyFailed, ValueError]


def test_if_one_is_cancelled_so_is_the_call(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        waiting = pool.submit(tasks.same, 1)
        call = pool.submit(tasks.same, waiting)
        assert waiting.cancel()
        assert call.cancelled()
        with pytest.raises(CancelledError):
            call.result(HANG)
        assert set(wait([call], HANG).done) == {call}
        gate.open()


def test_a_call_that_waits_for_others_can_be_cancelled(pool: ProcessPoolExecutor, gate: Gate, tmp_path: Any) -> None:
    late = pool.submit(tasks.stop_at, gate, str(tmp_path / "ran"))
    call = pool.submit(tasks.touch, late)
    behind = call.then(tasks.same)
    assert call.cancel()
    assert behind.cancelled()
    gate.open()
    late.result(HANG)
    pool.submit(tasks.nothing).result(HANG)
    assert not (tmp_path / "ran").exists()


def test_the_end_of_with_waits_for_them(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        last = pool.submit(tasks.stop_at, gate, 0)
        for _ in range(10):
            last = last.then(tasks.add, 1)
        gate.open()
    assert last.result(0) == 10


def test_a_shutdown_that_cancels_cancels_what_waits_for_others(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(tasks.stop_at, gate, 5)
        gate.wait_arrivals()
        behind = [running.then(tasks.add, 1)]
        behind.append(behind[0].then(tasks.add, 1))
        gate.open()
        pool.shutdown(cancel_futures=True)
        assert running.result(0) == 5
        assert [future.cancelled() for future in behind] == [True, True]


def test_killed_workers_fail_what_waits_for_theirs(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        behind = running.then(tasks.same)
        pool.kill_workers()
    assert isinstance(running.exception(0), WorkerLost)
    assert isinstance(behind.exception(0), DependencyFailed)


# --- then ---------------------------------------------------------------------------------------------------


def test_then_submits_with_the_result_first(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(tasks.same, 7).then(tasks.capture, 8, x=9)
    assert isinstance(future, Future)
    assert future.result(HANG) == ((7, 8), {"x": 9})


def test_then_on_what_is_done(pool: ProcessPoolExecutor) -> None:
    done = pool.submit(tasks.same, 20)
    done.result(HANG)
    assert done.then(tasks.divide, 5).result(HANG) == 4
    with pytest.raises(DependencyFailed):
        pool.submit(tasks.raise_value_error, "no").then(tasks.same).result(HANG)


def test_then_runs_in_a_worker(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(tasks.nothing).then(tasks.pid).result(HANG) in {row.pid for row in pool.stats().workers}


def test_a_thousand_pipelines(pool: ProcessPoolExecutor) -> None:
    ends = [pool.submit(tasks.same, n).then(tasks.square).then(tasks.add, 1) for n in range(1000)]
    assert [future.result(HANG) for future in ends] == [n * n + 1 for n in range(1000)]


# --- map_unordered ------------------------------------------------------------------------------------------


def test_results_come_as_they_come(pool: ProcessPoolExecutor, gate: Gate) -> None:
    results = pool.map_unordered(hold_first, [gate] * 20, range(20))
    others = list(islice(results, 19))
    assert sorted(others) == list(range(1, 20))
    gate.open()
    assert list(results) == [0]


def hold_first(gate: Gate, n: int) -> int:
    if n == 0:
        gate.stop()
    return n


def test_one_bad_item_raises_in_its_turn_and_the_rest_comes(pool: ProcessPoolExecutor) -> None:
    results = pool.map_unordered(tasks.error_on, [5] * 20, range(20))
    got, errors = each_of(results)
    assert sorted(got) == [n for n in range(20) if n != 5]
    assert [str(error) for error in errors] == ["bad 5"]


def test_a_lost_worker_costs_an_unordered_map_one_item(pool: ProcessPoolExecutor) -> None:
    got, errors = each_of(pool.map_unordered(exit_on, [5] * 20, range(20)))
    assert sorted(got) == [n for n in range(20) if n != 5]
    assert [type(error) for error in errors] == [WorkerLost]


def exit_on(bad: int, n: int) -> int:
    if n == bad:
        tasks.exit_with(3)
    return n


def each_of(results: Iterator[Any]) -> tuple[list[Any], list[Exception]]:
    """All that an iterator gives and all that it raises, until it ends."""
    got, errors = [], []
    while True:
        try:
            got.append(next(results))
        except StopIteration:
            return got, errors
        except Exception as error:
            errors.append(error)


def test_an_empty_one_and_several_iterables(pool: ProcessPoolExecutor) -> None:
    assert list(pool.map_unordered(tasks.square, [])) == []
    assert sorted(pool.map_unordered(tasks.add, [1, 2, 3], count(10))) == [11, 13, 15]


def test_given_up_half_way_the_rest_does_not_run(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        results: Any = pool.map_unordered(tasks.stop_at, [gate] * 20, range(20))
        gate.wait_arrivals()
        results.close()
        gate.open()
    assert len(gate.arrivals()) == 1


def test_dropped_half_way_the_rest_does_not_run(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        results = pool.map_unordered(tasks.stop_at, [gate] * 20, range(20))
        gate.wait_arrivals()
        del results
        pool.run_callbacks(0)
        sentinel = pool.submit(tasks.nothing)
        gate.open()
        sentinel.result(HANG)
    assert len(gate.arrivals()) < 20


# --- return_exceptions --------------------------------------------------------------------------------------


def test_exceptions_take_the_place_of_their_results(pool: ProcessPoolExecutor) -> None:
    results = list(pool.map(tasks.error_on, [5] * 20, range(20), return_exceptions=True))
    error = results.pop(5)
    assert isinstance(error, ValueError)
    assert str(error) == "bad 5"
    assert results == [n for n in range(20) if n != 5]


def test_of_a_lost_worker_too(pool: ProcessPoolExecutor) -> None:
    results = list(pool.map(exit_on, [5] * 20, range(20), return_exceptions=True))
    assert isinstance(results.pop(5), WorkerLost)  # type: ignore[arg-type]
    assert results == [n for n in range(20) if n != 5]


def test_every_item_may_fail(pool: ProcessPoolExecutor) -> None:
    results = list(pool.map(tasks.raise_value_error, "abc", return_exceptions=True))
    assert [str(error) for error in results] == ["a", "b", "c"]


@pytest.mark.parametrize("chunksize", [1, 7, 100])
def test_one_bad_item_does_not_cancel_the_rest(pool: ProcessPoolExecutor, tmp_path: Any, chunksize: int) -> None:
    """Without it the error is raised in its place; what had been read before runs to its end all the same."""
    log = tmp_path / "log"
    results = pool.map(log_item, [str(log)] * 50, range(50), chunksize=chunksize, return_exceptions=True)
    assert sum(isinstance(result, ValueError) for result in results) == 1
    assert sorted(map(int, log.read_text().split())) == list(range(50))


def log_item(path: str, n: int) -> None:
    tasks.append_line(path, str(n))
    if n == 20:
        raise ValueError(n)


def test_without_it_the_error_comes_in_its_place(pool: ProcessPoolExecutor) -> None:
    results = pool.map(tasks.error_on, [5] * 20, range(20))
    assert list(islice(results, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="bad 5"):
        next(results)


# --- laziness -----------------------------------------------------------------------------------------------


class Source:
    """An endless input that counts what was read of it, and by how many threads."""

    def __init__(self) -> None:
        self.read = 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.read += 1
        self.threads.add(threading.get_ident())
        return self.read - 1


MAPS: dict[str, Callable[..., Iterator[Any]]] = {
    "map": lambda pool, fn, *its, **how: pool.map(fn, *its, **how),
    "return_exceptions": lambda pool, fn, *its, **how: pool.map(fn, *its, return_exceptions=True, **how),
    "map_unordered": lambda pool, fn, *its, **how: pool.map_unordered(fn, *its, **how),
    "with_options": lambda pool, fn, *its, **how: pool.options(retries=1).map(fn, *its, **how),
}


@pytest.fixture(params=MAPS)
def any_map(request: pytest.FixtureRequest) -> Callable[..., Iterator[Any]]:
    return MAPS[request.param]


@pytest.mark.parametrize("size", [1, 2, 17])
def test_buffersize_is_exact(pool: ProcessPoolExecutor, any_map: Callable[..., Iterator[Any]], size: int) -> None:
    source = Source()
    results = any_map(pool, tasks.square, source, buffersize=size)
    assert source.read == size
    for fetched in range(1, 60):
        next(results)
        assert source.read == size + fetched
    assert source.threads == {threading.get_ident()}
    results.close()  # type: ignore[attr-defined]


def test_nothing_is_read_while_results_are_not_fetched(
    pool: ProcessPoolExecutor, any_map: Callable[..., Iterator[Any]]
) -> None:
    source = Source()
    results = any_map(pool, tasks.square, source, buffersize=5)
    for _ in range(20):
        pool.submit(tasks.nothing).result(HANG)
    assert source.read == 5
    results.close()  # type: ignore[attr-defined]


def test_an_endless_generator_without_buffersize_is_read_by_a_bounded_window(
    pool: ProcessPoolExecutor, any_map: Callable[..., Iterator[Any]]
) -> None:
    source = Source()
    results = any_map(pool, tasks.same, source)
    assert 0 < source.read <= 30_000
    for fetched in range(1, 3000):
        next(results)
        assert source.read <= 30_000 + fetched
    results.close()  # type: ignore[attr-defined]
    read = source.read
    pool.submit(tasks.nothing).result(HANG)
    assert source.read == read


def test_an_endless_generator_keeps_memory_flat(pool: ProcessPoolExecutor) -> None:
    """Items that were fetched are let go of: never more of them alive than the buffer, those at work, the one here."""
    alive = 0

    class Item:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1
            self.most = alive

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

        def __reduce__(self) -> Any:
            return int, (self.most,)

    most = max(islice(pool.map(tasks.same, (Item() for _ in count()), buffersize=4), 500))
    assert most <= 8


@pytest.mark.parametrize("size", [0, -1])
def test_a_buffersize_below_one_is_refused(
    pool: ProcessPoolExecutor, any_map: Callable[..., Iterator[Any]], size: int
) -> None:
    with pytest.raises(ValueError, match="buffersize"):
        any_map(pool, tasks.square, [1], buffersize=size)


def test_a_buffersize_that_is_no_int_is_refused(
    pool: ProcessPoolExecutor, any_map: Callable[..., Iterator[Any]]
) -> None:
    with pytest.raises(TypeError, match="buffersize"):
        any_map(pool, tasks.square, [1], buffersize=1.5)


def test_an_input_that_raises_raises_in_the_caller(
    pool: ProcessPoolExecutor, any_map: Callable[..., Iterator[Any]]
) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise LookupError("the input failed")

    results = any_map(pool, tasks.square, items(), buffersize=2)
    got = [next(results) for _ in range(3)]
    with pytest.raises(LookupError, match="the input failed"):
        list(results)
    assert len(got) == 3


def test_maps_may_be_nested_pipelines(pool: ProcessPoolExecutor) -> None:
    """One map's results are another's input: neither reads further than it may."""
    source = Source()
    squares = pool.map(tasks.square, source, buffersize=3)
    sums = pool.map(tasks.add, squares, count(1), buffersize=3)
    assert list(islice(sums, 5)) == [1, 3, 7, 13, 21]
    assert source.read <= 5 + 3 + 3
    sums.close()  # type: ignore[attr-defined]
    squares.close()  # type: ignore[attr-defined]


def test_two_threads_may_each_have_their_maps(pool: ProcessPoolExecutor) -> None:
    def work(start: int) -> list[int]:
        return list(islice(pool.map(tasks.square, count(start), buffersize=4), 100))

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(work, [0, 1000]))
    assert found == [[n * n for n in range(start, start + 100)] for start in (0, 1000)]


def test_futures_of_a_pipeline_can_be_waited_for_in_any_way(pool: ProcessPoolExecutor) -> None:
    ends = {pool.submit(tasks.same, n).then(tasks.square): n for n in range(20)}
    assert {future.result() for future in as_completed(ends, HANG)} == {n * n for n in range(20)}
