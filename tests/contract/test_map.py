"""map: order, chunks, timeouts, errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import tasks
from tests.contract.face import Face
from tests.support import Gate


def test_results_come_in_order(any_face: Face) -> None:
    assert list(any_face.pool().map(tasks.square, range(100))) == [i * i for i in range(100)]


def test_slow_first_item_keeps_its_place(face: Face, gate: Gate) -> None:
    pool = face.pool(2)
    slow = pool.map(tasks.stop_at, [gate], ["slow"])
    gate.wait_arrivals()
    assert list(pool.map(tasks.square, range(5))) == [0, 1, 4, 9, 16]
    gate.open()
    assert list(slow) == ["slow"]


def test_several_iterables_end_with_the_shortest(face: Face) -> None:
    assert list(face.pool().map(tasks.multiply, range(10), [3, 4, 5])) == [0, 4, 10]


@pytest.mark.parametrize("count", [0, 1])
def test_short_iterables(face: Face, count: int) -> None:
    assert list(face.pool().map(tasks.square, range(count))) == [0] * count


def test_without_iterables(face: Face) -> None:
    assert list(face.pool().map(tasks.nothing)) == []


@pytest.mark.parametrize("chunksize", [1, 3, 10, 1000])
def test_chunksize_changes_no_result(any_face: Face, chunksize: int) -> None:
    results = any_face.pool().map(tasks.add, range(20), range(20, 40), chunksize=chunksize)
    assert list(results) == [20 + 2 * i for i in range(20)]


@pytest.mark.parametrize("chunksize", [0, -1])
def test_chunksize_must_be_positive(face: Face, chunksize: int) -> None:
    with pytest.raises(ValueError, match=r"^chunksize must be >= 1\.$"):
        face.pool().map(tasks.square, range(4), chunksize=chunksize)


def test_it_is_an_iterator(face: Face) -> None:
    results = face.pool().map(tasks.square, [1, 2])
    assert iter(results) is results
    assert next(results) == 1
    assert next(results) == 4
    with pytest.raises(StopIteration):
        next(results)


def test_the_work_begins_before_anybody_asks(face: Face, gate: Gate) -> None:
    results = face.pool().map(tasks.stop_at, [gate], ["begun"])
    gate.wait_arrivals()
    gate.open()
    assert next(results) == "begun"


@pytest.mark.parametrize("chunksize", [1, 4])
def test_an_error_comes_in_its_place(face: Face, chunksize: int) -> None:
    results = face.pool().map(tasks.error_on, [5] * 8, range(8), chunksize=chunksize)
    whole_chunk = chunksize > 1
    before = face.differs(standard=4 if whole_chunk else 5, ours=5, because="each item has its own outcome")
    assert [next(results) for _ in range(before)] == list(range(before))
    with pytest.raises(ValueError, match=r"^bad 5$"):
        next(results)


def test_nothing_comes_after_an_error(face: Face) -> None:
    results = face.pool().map(tasks.error_on, [1] * 8, range(8))
    assert next(results) == 0
    with pytest.raises(ValueError, match=r"^bad 1$"):
        next(results)
    assert list(results) == []


def test_an_error_of_the_iterable_reaches_the_caller(face: Face) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(face.pool().map(tasks.square, broken()))


def test_arguments_must_be_iterable(face: Face) -> None:
    with pytest.raises(TypeError, match="iter"):
        face.pool().map(tasks.square, 5)


def test_timeout(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool()
    results = pool.map(tasks.stop_at, [gate], timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    gate.open()
    assert pool.submit(tasks.square, 3).result() == 9


def test_no_timeout_for_what_is_there(face: Face) -> None:
    assert list(face.pool().map(tasks.square, range(3), timeout=60)) == [0, 1, 4]


def test_two_maps_at_once(face: Face) -> None:
    pool = face.pool()
    first, second = pool.map(tasks.add, range(9), [1] * 9), pool.map(tasks.add, range(9), [2] * 9)
    assert list(zip(first, second, strict=True)) == [(i + 1, i + 2) for i in range(9)]


def test_a_dropped_iterator_stops_nothing(face: Face) -> None:
    pool = face.pool()
    results = pool.map(tasks.square, range(50))
    next(results)
    del results
    assert pool.submit(tasks.square, 5).result() == 25


def test_results_survive_shutdown(any_face: Face) -> None:
    pool = any_face.pool()
    results = pool.map(tasks.square, range(10))
    pool.shutdown()
    assert list(results) == [i * i for i in range(10)]


def test_after_shutdown_the_call_itself_raises(face: Face) -> None:
    pool = face.pool()
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        pool.map(tasks.square, range(3))
