"""wait and as_completed: of the module under the contract, and mixed with the standard ones."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import pytest

from tests import tasks
from tests.contract.face import Face
from tests.support import HANG, Gate


def test_wait_for_all(any_face: Face) -> None:
    pool = any_face.pool()
    futures = [pool.submit(tasks.square, i) for i in range(20)]
    done, not_done = any_face.wait(futures)
    assert done == set(futures)
    assert not_done == set()


def test_the_answer_has_names(face: Face) -> None:
    answer = face.wait([face.pool().submit(tasks.nothing)])
    assert len(answer.done) == 1
    assert len(answer.not_done) == 0


def test_wait_for_the_first(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(2)
    slow = pool.submit(tasks.stop_at, gate)
    quick = pool.submit(tasks.square, 3)
    answer = any_face.wait([slow, quick], timeout=HANG, return_when=any_face.FIRST_COMPLETED)
    assert answer == ({quick}, {slow})
    gate.open()


def test_wait_for_the_first_exception(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(2)
    slow = pool.submit(tasks.stop_at, gate)
    good = pool.submit(tasks.square, 3)
    bad = pool.submit(tasks.raise_value_error, "first")
    answer = any_face.wait([slow, good, bad], timeout=HANG, return_when=any_face.FIRST_EXCEPTION)
    assert bad in answer.done
    assert slow in answer.not_done
    gate.open()


def test_wait_for_a_first_exception_that_does_not_come(face: Face) -> None:
    pool = face.pool()
    futures = {pool.submit(tasks.square, i) for i in range(5)}
    assert face.wait(futures, return_when=face.FIRST_EXCEPTION) == (futures, set())


def test_wait_times_out(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(2)
    slow, quick = pool.submit(tasks.stop_at, gate), pool.submit(tasks.square, 3)
    quick.result()
    assert any_face.wait([slow, quick], timeout=0.01) == ({quick}, {slow})
    assert any_face.wait([slow, quick], timeout=0) == ({quick}, {slow})
    gate.open()


def test_wait_for_what_is_done(face: Face) -> None:
    future = face.pool().submit(tasks.square, 3)
    future.result()
    for when in (face.FIRST_COMPLETED, face.FIRST_EXCEPTION, face.ALL_COMPLETED):
        assert face.wait([future], return_when=when) == ({future}, set())


def test_wait_counts_a_future_once(face: Face) -> None:
    future = face.pool().submit(tasks.square, 3)
    assert face.wait([future, future]) == ({future}, set())


def test_wait_for_nothing(face: Face) -> None:
    assert face.wait([]) == (set(), set())


def test_wait_wakes_for_a_cancelled_future(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(1)
    slow = pool.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    last = [pool.submit(tasks.nothing) for _ in range(10)][-1]
    assert last.cancel()
    gate.open()
    assert any_face.wait([slow, last], timeout=HANG).not_done == set()


def test_as_completed_gives_each_once(any_face: Face) -> None:
    pool = any_face.pool()
    futures = [pool.submit(tasks.square, i) for i in range(30)]
    given = list(any_face.as_completed(futures))
    assert len(given) == 30
    assert set(given) == set(futures)


def test_as_completed_gives_what_is_ready_first(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(2)
    slow = pool.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    quick = pool.submit(tasks.square, 3)
    given = any_face.as_completed([slow, quick], timeout=HANG)
    assert next(given) is quick
    gate.open()
    assert next(given) is slow
    assert list(given) == []


def test_as_completed_counts_a_future_once(face: Face) -> None:
    future = face.pool().submit(tasks.square, 3)
    assert list(face.as_completed([future] * 3)) == [future]


def test_as_completed_of_done_and_failed(face: Face) -> None:
    pool = face.pool()
    futures = [pool.submit(tasks.error_on, 1, i) for i in range(3)]
    face.wait(futures)
    assert set(face.as_completed(futures)) == set(futures)


def test_as_completed_times_out(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(2)
    slow, quick = pool.submit(tasks.stop_at, gate), pool.submit(tasks.square, 3)
    quick.result()
    given = any_face.as_completed([slow, quick], timeout=0.05)
    assert next(given) is quick
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        next(given)
    gate.open()


def test_as_completed_with_no_time_gives_what_is_done(face: Face) -> None:
    future = face.pool().submit(tasks.square, 3)
    future.result()
    assert list(face.as_completed([future], timeout=0)) == [future]


def test_as_completed_of_nothing(face: Face) -> None:
    assert list(face.as_completed([])) == []


def test_as_completed_gives_a_cancelled_future(face: Face) -> None:
    future = face.Future()
    future.cancel()
    future.set_running_or_notify_cancel()
    assert list(face.as_completed([future], timeout=HANG)) == [future]


@pytest.mark.parametrize("how", ["wait", "as_completed"])
def test_the_standard_functions_take_futures_of_any_pool(any_face: Face, gate: Gate, how: str) -> None:
    pool = any_face.pool()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        futures: list[Any] = [pool.submit(tasks.stop_at, gate, 1), threads.submit(tasks.square, 2)]
        gate.open()
        if how == "wait":
            assert concurrent.futures.wait(futures, timeout=HANG).done == set(futures)
        else:
            assert set(concurrent.futures.as_completed(futures, timeout=HANG)) == set(futures)


@pytest.mark.parametrize("how", ["wait", "as_completed"])
def test_the_functions_take_standard_futures_too(any_face: Face, gate: Gate, how: str) -> None:
    pool = any_face.pool()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        futures: list[Any] = [pool.submit(tasks.stop_at, gate, 1), threads.submit(tasks.square, 2)]
        gate.open()
        if how == "wait":
            assert any_face.wait(futures, timeout=HANG).done == set(futures)
        else:
            assert set(any_face.as_completed(futures, timeout=HANG)) == set(futures)


def test_futures_of_two_pools(any_face: Face) -> None:
    first, second = any_face.pool(1), any_face.pool(1)
    futures = [pool.submit(tasks.square, i) for i in range(10) for pool in (first, second)]
    assert set(any_face.as_completed(futures, timeout=HANG)) == set(futures)
    assert any_face.wait(futures).done == set(futures)
