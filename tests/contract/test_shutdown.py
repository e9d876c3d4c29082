"""The end of an executor: shutdown, with, garbage collection."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests import tasks
from tests.contract.face import Face
from tests.support import HANG, Gate, eventually


def test_of_a_pool_that_was_never_used(any_face: Face) -> None:
    any_face.pool().shutdown()


def test_more_than_once(any_face: Face) -> None:
    pool = any_face.pool()
    pool.submit(tasks.nothing).result()
    pool.shutdown()
    pool.shutdown(wait=False)
    pool.shutdown(wait=True, cancel_futures=True)


@pytest.mark.parametrize("wait", [True, False])
def test_no_submit_afterwards(face: Face, wait: bool) -> None:
    pool = face.pool()
    pool.submit(tasks.nothing).result()
    pool.shutdown(wait=wait)
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        pool.submit(tasks.nothing)


@pytest.mark.parametrize("wait", [True, False])
def test_pending_work_is_finished(any_face: Face, wait: bool) -> None:
    pool = any_face.pool()
    futures = [pool.submit(tasks.square, i) for i in range(40)]
    pool.shutdown(wait=wait)
    assert [f.result(HANG) for f in futures] == [i * i for i in range(40)]


def test_wait_returns_when_all_is_done(any_face: Face) -> None:
    pool = any_face.pool()
    futures = [pool.submit(tasks.square, i) for i in range(40)]
    pool.shutdown()
    assert all(f.done() for f in futures)


def test_with_waits(any_face: Face, tmp_path: Path) -> None:
    with any_face.pool() as pool:
        futures = [pool.submit(tasks.touch, str(tmp_path / str(i))) for i in range(10)]
    assert all(f.done() for f in futures)
    assert len(list(tmp_path.iterdir())) == 10


def test_with_gives_the_executor(face: Face) -> None:
    pool = face.pool()
    with pool as given:
        assert given is pool


def test_an_error_in_the_with_block_goes_on(face: Face) -> None:
    future: Any = None
    with pytest.raises(LookupError, match="in the block"), face.pool() as pool:
        future = pool.submit(tasks.square, 3)
        raise LookupError("in the block")
    assert future.result(0) == 9


@pytest.mark.parametrize("wait", [True, False])
def test_cancel_futures(any_face: Face, gate: Gate, wait: bool) -> None:
    pool = any_face.pool(1)
    running = pool.submit(tasks.stop_at, gate, "ran")
    gate.wait_arrivals()
    waiting = [pool.submit(tasks.square, i) for i in range(20)]
    closer = threading.Thread(target=pool.shutdown, kwargs={"wait": wait, "cancel_futures": True})
    closer.start()
    assert eventually(waiting[-1].cancelled)
    gate.open()
    closer.join()
    assert running.result(HANG) == "ran"
    assert eventually(lambda: all(f.done() for f in waiting))
    # The standard pool has up to two tasks more on their way than it has workers.
    assert sum(f.cancelled() for f in waiting) >= 18


def test_cancelled_futures_do_not_run(any_face: Face, gate: Gate, tmp_path: Path) -> None:
    pool = any_face.pool(1)
    pool.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    waiting = {i: pool.submit(tasks.touch, str(tmp_path / f"ran-{i}")) for i in range(20)}
    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert eventually(lambda: all(f.done() for f in waiting.values()))
    ran = {int(path.name.removeprefix("ran-")) for path in tmp_path.glob("ran-*")}
    assert ran == {i for i, f in waiting.items() if not f.cancelled()}


def test_wait_is_told_of_cancelled_futures(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(1)
    pool.submit(tasks.stop_at, gate)
    gate.wait_arrivals()
    waiting = [pool.submit(tasks.square, i) for i in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert eventually(waiting[-1].cancelled)
    told = any_face.differs(standard=False, ours=True, because="nobody tells its wait()")
    timeout = HANG if told else 0.01
    assert (waiting[-1] in any_face.wait([waiting[-1]], timeout=timeout).done) == told


def test_in_another_thread_while_results_are_awaited(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool()
    futures = [pool.submit(tasks.stop_at, gate, i) for i in range(6)]
    closer = threading.Thread(target=pool.shutdown)
    closer.start()
    gate.open()
    assert [f.result(HANG) for f in futures] == list(range(6))
    closer.join()


def test_in_a_callback(any_face: Face) -> None:
    pool = any_face.pool()
    called = threading.Event()

    def close(_: Any) -> None:
        pool.shutdown(wait=False)
        called.set()

    futures = [pool.submit(tasks.square, i) for i in range(10)]
    futures[0].add_done_callback(close)
    assert called.wait(HANG)
    assert [f.result(HANG) for f in futures] == [i * i for i in range(10)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(tasks.nothing)


def test_submits_that_race_with_it(any_face: Face) -> None:
    pool = any_face.pool()
    started = threading.Barrier(5)
    futures: list[Any] = []
    refused: list[str] = []

    def keep_submitting() -> None:
        started.wait()
        while True:
            try:
                futures.append(pool.submit(tasks.square, 3))
            except RuntimeError as error:
                refused.append(str(error))
                return

    threads = [threading.Thread(target=keep_submitting) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    pool.shutdown(wait=True)
    for thread in threads:
        thread.join()
    assert refused == ["cannot schedule new futures after shutdown"] * 4
    assert {f.result(HANG) for f in futures} <= {9}


def test_a_dropped_executor_finishes_its_work(any_face: Face, gate: Gate) -> None:
    pool = any_face.ProcessPoolExecutor(1, mp_context=any_face.context())
    futures = [pool.submit(tasks.stop_at, gate, i) for i in range(4)]
    del pool
    gc.collect()
    gate.open()
    assert [f.result(HANG) for f in futures] == [0, 1, 2, 3]
    # That its workers go, its threads and its descriptors, is for the check after every test.


def test_nothing_of_its_own_keeps_an_executor(any_face: Face) -> None:
    pool = any_face.ProcessPoolExecutor(1, mp_context=any_face.context())
    future = pool.submit(tasks.square, 3)
    assert future.result() == 9
    watched = weakref.ref(pool)
    del pool

    def is_gone() -> bool:
        gc.collect()
        return watched() is None

    assert eventually(is_gone)


def test_a_dropped_executor_that_was_never_used(face: Face) -> None:
    pool = face.ProcessPoolExecutor(2, mp_context=face.context())
    watched = weakref.ref(pool)
    del pool
    gc.collect()
    assert watched() is None


def test_one_after_the_other(any_face: Face) -> None:
    for i in range(3):
        with any_face.pool(1) as pool:
            assert pool.submit(tasks.square, i).result() == i * i


def test_two_at_once(any_face: Face) -> None:
    first, second = any_face.pool(1), any_face.pool(1)
    a, b = first.submit(tasks.pid), second.submit(tasks.pid)
    assert a.result() != b.result()
    first.shutdown()
    assert second.submit(tasks.square, 3).result() == 9
