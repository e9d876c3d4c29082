"""Futures: states, waiting, cancelling, callbacks."""

from __future__ import annotations

import concurrent.futures
import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from tests import tasks
from tests.contract.face import Face
from tests.support import HANG, Gate, eventually


def test_it_is_a_standard_future(face: Face) -> None:
    assert isinstance(face.pool().submit(tasks.nothing), concurrent.futures.Future)


def test_states_of_a_task(any_face: Face, gate: Gate) -> None:
    future = any_face.pool(1).submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    assert eventually(future.running)
    assert not future.done()
    assert not future.cancelled()
    gate.open()
    assert future.result() is None
    assert future.done()
    assert not future.running()
    assert not future.cancelled()


def test_result_times_out_and_the_task_goes_on(any_face: Face, gate: Gate) -> None:
    future = any_face.pool(1).submit(tasks.stop_at, gate, "late")
    for wait in (0, 0.01):
        with pytest.raises(TimeoutError):
            future.result(wait)
        with pytest.raises(TimeoutError):
            future.exception(timeout=wait)
    gate.open()
    assert future.result(timeout=HANG) == "late"


def test_result_many_times_and_in_many_threads(any_face: Face, gate: Gate) -> None:
    future = any_face.pool(1).submit(tasks.stop_at, gate, "same")
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append(future.result())) for _ in range(6)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join()
    assert [*seen, future.result(), future.result()] == ["same"] * 8


def test_cancel_what_has_not_begun(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(1)
    running = pool.submit(tasks.stop_at, gate, "ran")
    gate.wait_arrivals()
    waiting = [pool.submit(tasks.square, i) for i in range(10)]
    assert not running.cancel()
    assert waiting[-1].cancel()
    assert waiting[-1].cancelled()
    assert waiting[-1].done()
    assert waiting[-1].cancel()
    with pytest.raises(any_face.CancelledError):
        waiting[-1].result()
    with pytest.raises(any_face.CancelledError):
        waiting[-1].exception()
    gate.open()
    assert running.result() == "ran"
    assert [f.result() for f in waiting[:-1]] == [i * i for i in range(9)]


def test_a_cancelled_task_never_runs(any_face: Face, gate: Gate, tmp_path: Any) -> None:
    pool = any_face.pool(1)
    pool.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    paths = [str(tmp_path / str(i)) for i in range(10)]
    futures = [pool.submit(tasks.touch, path) for path in paths]
    cancelled = [f.cancel() for f in futures]
    assert any(cancelled)
    gate.open()
    pool.shutdown()
    assert [(tmp_path / str(i)).exists() for i in range(10)] == [not gone for gone in cancelled]


def test_cancel_after_the_end_does_nothing(face: Face) -> None:
    future = face.pool().submit(tasks.square, 3)
    assert future.result() == 9
    assert not future.cancel()
    assert future.result() == 9


def test_callback_gets_the_future(any_face: Face, gate: Gate) -> None:
    future = any_face.pool(1).submit(tasks.stop_at, gate, 5)
    seen: list[Any] = []
    called = threading.Event()
    future.add_done_callback(seen.append)
    future.add_done_callback(lambda _: called.set())
    assert not seen
    gate.open()
    assert called.wait(HANG)
    assert seen == [future]
    assert seen[0].result() == 5


def test_callbacks_in_the_order_of_adding(face: Face, gate: Gate) -> None:
    future = face.pool(1).submit(tasks.stop_at, gate)
    seen: list[int] = []
    called = threading.Event()
    for i in range(5):
        future.add_done_callback(lambda _, i=i: seen.append(i))
    future.add_done_callback(lambda _: called.set())
    gate.open()
    assert called.wait(HANG)
    assert seen == [0, 1, 2, 3, 4]


def test_callback_of_a_done_future_is_called_at_once(face: Face) -> None:
    future = face.pool().submit(tasks.square, 3)
    future.result()
    threads: list[int] = []
    future.add_done_callback(lambda _: threads.append(threading.get_ident()))
    assert threads == [threading.get_ident()]


def test_callback_of_a_cancelled_future(face: Face, gate: Gate) -> None:
    pool = face.pool(1)
    pool.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    future = [pool.submit(tasks.nothing) for _ in range(10)][-1]
    seen: list[bool] = []
    future.add_done_callback(lambda f: seen.append(f.cancelled()))
    assert future.cancel()
    assert seen == [True]
    gate.open()


def test_callback_that_raises_is_logged_and_stops_nothing(
    face: Face, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    pool = face.pool(1)
    future = pool.submit(tasks.stop_at, gate, "done")
    called = threading.Event()

    def fail(_: Any) -> None:
        raise ArithmeticError("a callback failed")

    future.add_done_callback(fail)
    future.add_done_callback(lambda _: called.set())
    with caplog.at_level(logging.ERROR):
        gate.open()
        assert called.wait(HANG)
    assert "a callback failed" in caplog.text
    # The record holds the traceback, and that the frames of the pool's own thread.
    caplog.clear()
    assert future.result() == "done"
    assert pool.submit(tasks.square, 3).result() == 9


def test_callback_for_every_outcome(any_face: Face) -> None:
    pool = any_face.pool()
    seen: list[Any] = []
    lock = threading.Lock()

    def note(future: Any) -> None:
        with lock:
            seen.append(future)

    futures = [pool.submit(tasks.error_on, 7, i) for i in range(50)]
    for future in futures:
        future.add_done_callback(note)
    pool.shutdown()
    assert len(seen) == 50
    assert set(seen) == set(futures)


def test_repr_tells_the_state(face: Face, gate: Gate) -> None:
    future = face.pool(1).submit(tasks.stop_at, gate, 5)
    gate.wait_arrivals()
    assert eventually(lambda: "state=running" in repr(future))
    gate.open()
    future.result()
    assert "state=finished returned int" in repr(future)


def test_repr_tells_the_error(face: Face) -> None:
    future = face.pool().submit(tasks.raise_value_error, "wrong")
    future.exception()
    assert "state=finished raised ValueError" in repr(future)


def test_a_future_made_by_hand(face: Face) -> None:
    future = face.Future()
    assert "state=pending" in repr(future)
    assert future.set_running_or_notify_cancel()
    assert future.running()
    assert not future.cancel()
    future.set_result(5)
    assert future.result() == 5
    with pytest.raises(face.InvalidStateError):
        future.set_result(6)
    with pytest.raises(face.InvalidStateError):
        future.set_exception(ValueError())


def test_a_future_made_by_hand_that_fails(face: Face) -> None:
    future = face.Future()
    error = ValueError("by hand")
    future.set_exception(error)
    assert future.exception() is error
    with pytest.raises(ValueError, match="by hand"):
        future.result()


def test_a_future_made_by_hand_and_cancelled(face: Face) -> None:
    future = face.Future()
    assert future.cancel()
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(face.CancelledError):
        future.result()
    with pytest.raises(face.InvalidStateError):
        future.set_result(1)


def test_a_future_made_by_hand_wakes_its_waiters(face: Face) -> None:
    future = face.Future()
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(future.result(HANG)))
    thread.start()
    future.set_result("woken")
    thread.join()
    assert seen == ["woken"]


def test_a_result_goes_when_its_future_goes(face: Face) -> None:
    pool = face.pool()
    future = pool.submit(tasks.Multiplier.make, 3)
    result = weakref.ref(future.result())
    assert result() is not None
    del future

    def is_gone() -> bool:
        gc.collect()
        return result() is None

    assert eventually(is_gone)


def test_an_argument_goes_when_its_task_is_done(face: Face) -> None:
    pool = face.pool()
    argument = tasks.Multiplier(3)
    watched = weakref.ref(argument)
    future = pool.submit(tasks.same, argument)
    del argument
    assert future.result().factor == 3

    def is_gone() -> bool:
        gc.collect()
        return watched() is None

    assert eventually(is_gone)
