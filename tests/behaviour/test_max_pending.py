"""`max_pending`: submit waits for room, or says that there is none."""

from __future__ import annotations

import operator
import queue
import threading
from concurrent.futures import Future as StandardFuture
from typing import Any

import pytest

from executor import ProcessPoolExecutor, TooManyPending, WorkerLost
from tests import deaths, tasks
from tests.support import HANG, Gate, eventually


def open_calls(pool: ProcessPoolExecutor) -> int:
    stats = pool.stats()
    return stats.submitted - stats.done - stats.failed - stats.cancelled


def test_no_more_are_pending_than_may_be(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, max_pending=5) as pool:
        futures = []
        for n in range(300):
            futures.append(pool.submit(operator.neg, n))
            assert open_calls(pool) <= 5
        assert [future.result(HANG) for future in futures] == [-n for n in range(300)]


def test_submit_waits_until_there_is_room(gate: Gate) -> None:
    with ProcessPoolExecutor(2, max_pending=2) as pool:
        first = [pool.submit(tasks.stop_at, gate) for _ in range(2)]
        submitted: list[Any] = []
        thread = threading.Thread(target=lambda: submitted.append(pool.submit(operator.neg, 1)))
        thread.start()
        gate.wait_arrivals(2)
        eventually(lambda: pool._session.waiters)
        assert submitted == []
        gate.open()
        thread.join(HANG)
        assert submitted[0].result(HANG) == -1
        assert [future.result(HANG) for future in first] == [None, None]


def test_the_only_thread_gets_on(gate: Gate) -> None:
    """It leads the loop while it waits: nobody else has to."""
    with ProcessPoolExecutor(1, max_pending=1) as pool:
        assert [pool.submit(operator.neg, n).result(HANG) for n in range(50)] == [-n for n in range(50)]
        futures = [pool.submit(operator.neg, n) for n in range(200)]
        assert [future.result(HANG) for future in futures] == [-n for n in range(200)]


def test_callbacks_run_while_it_waits() -> None:
    seen: list[int] = []
    most = 0
    with ProcessPoolExecutor(1, max_pending=3) as pool:
        calls = pool.options(callback=seen.append)
        for n in range(100):
            calls.submit(tasks.same, n)
            most = max(most, n + 1 - len(seen))
    assert seen == list(range(100))
    assert most < 100


def test_it_may_raise_instead(gate: Gate) -> None:
    with ProcessPoolExecutor(1, max_pending=2, when_full="raise") as pool:
        first = [pool.submit(tasks.stop_at, gate, n) for n in range(2)]
        with pytest.raises(TooManyPending, match="2 calls are not done, which is max_pending") as raised:
            pool.submit(operator.neg, 1)
        assert isinstance(raised.value, queue.Full)
        assert raised.value.limit == 2
        assert pool.stats().submitted == 2
        gate.open()
        assert [future.result(HANG) for future in first] == [0, 1]
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    with ProcessPoolExecutor(1, max_pending=1) as pool:
        assert pool.options(when_full="raise").submit(operator.neg, 1).result(HANG) == -1


@pytest.mark.parametrize("kind", ["callback", "done callback"])
def test_a_callback_that_submits_is_let_pass(kind: str) -> None:
    results: list[int] = []
    ended = threading.Event()

    def again(value: Any) -> None:
        number: int = value.result() if isinstance(value, StandardFuture) else value
        results.append(number)
        if number < 50:
            submit(number + 1)
        else:
            ended.set()

    def submit(number: int) -> None:
        if kind == "callback":
            pool.options(callback=again).submit(tasks.same, number)
        else:
            pool.submit(tasks.same, number).add_done_callback(again)

    with ProcessPoolExecutor(1, max_pending=1) as pool:
        submit(0)
        while not ended.is_set():
            pool.submit(tasks.nothing).result(HANG)  # competes for the room
    assert results == list(range(51))


def test_tasks_that_depend_on_others_count(gate: Gate) -> None:
    with ProcessPoolExecutor(2, max_pending=2, when_full="raise") as pool:
        first = pool.submit(tasks.stop_at, gate, 3)
        second = first.then(tasks.square)
        with pytest.raises(TooManyPending):
            second.then(tasks.square)
        gate.open()
        assert second.result(HANG) == 9
        assert second.then(tasks.square).result(HANG) == 81


def test_a_place_is_free_again_however_a_task_ends(gate: Gate) -> None:
    with ProcessPoolExecutor(1, max_pending=2, when_full="raise") as pool:
        for _ in range(3):
            assert isinstance(pool.submit(deaths.die, "SIGKILL").exception(HANG), WorkerLost)
            assert pool.submit(tasks.raise_value_error, "no").exception(HANG)
            assert pool.submit(tasks.same, tasks.CannotPickle()).exception(HANG)
            failed = pool.submit(tasks.raise_value_error, "no")
            assert failed.then(tasks.square).exception(HANG)
        running = pool.submit(tasks.stop_at, gate)
        gate.wait_arrivals()
        for _ in range(3):
            assert pool.submit(operator.neg, 1).cancel()
        with pytest.raises(ValueError, match="slot"):
            pool._submit(pool._session.options.changed({"slot": 5}), operator.neg, (1,), {})
        last = pool.submit(operator.neg, 1)
        gate.open()
        assert (running.result(HANG), last.result(HANG)) == (None, -1)


def test_maps_are_not_counted() -> None:
    with ProcessPoolExecutor(2, max_pending=1, when_full="raise") as pool:
        assert list(pool.map(operator.neg, range(100))) == [-n for n in range(100)]


def test_who_waits_when_the_executor_is_shut_down_is_told(gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, max_pending=1)
    running = pool.submit(tasks.stop_at, gate)
    errors: list[BaseException] = []

    def submit() -> None:
        try:
            pool.submit(operator.neg, 1)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    eventually(lambda: pool._session.waiters)
    pool.shutdown(wait=False)
    thread.join(HANG)
    assert [str(error) for error in errors] == ["cannot schedule new futures after shutdown"]
    gate.open()
    assert running.result(HANG) is None
    pool.shutdown()


def test_many_threads_share_the_room() -> None:
    with ProcessPoolExecutor(2, max_pending=3) as pool:
        results: list[int] = []

        def work(first: int) -> None:
            futures = [pool.submit(operator.neg, n) for n in range(first, first + 50)]
            results.extend(future.result(HANG) for future in futures)

        threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * HANG)
        assert sorted(results) == sorted(-(100 * n + m) for n in range(4) for m in range(50))
        assert open_calls(pool) == 0


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_what_is_no_limit(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_pending"):
        ProcessPoolExecutor(1, max_pending=value)
    with pytest.raises(ValueError, match='"wait" or "raise"'):
        ProcessPoolExecutor(1, when_full="drop")
