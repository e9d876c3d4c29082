"""initializer and initargs."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

from tests import tasks
from tests.contract.face import Face
from tests.support import HANG, Gate


def fail() -> None:
    raise ZeroDivisionError("the initializer failed")


_lock: Any = None


def keep_lock(lock: Any) -> None:
    global _lock
    _lock = lock


def use_lock() -> bool:
    with _lock:
        return True


def test_every_worker_runs_it(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(2, initializer=tasks.set_greeting, initargs=("hello",))
    stopped = [pool.submit(tasks.stop_at, gate) for _ in range(2)]
    gate.wait_arrivals(2)
    gate.open()
    any_face.wait(stopped)
    assert set(pool.map(tasks.get_greeting, range(20))) == {"hello"}


def test_each_worker_runs_it_once(any_face: Face, tmp_path: Path) -> None:
    notes = tmp_path / "starts"
    pool = any_face.pool(2, initializer=tasks.note_start, initargs=(str(notes),))
    pids = set(pool.map(tasks.pid, range(20)))
    pool.shutdown()
    started = [int(line) for line in notes.read_text().split()]
    assert len(set(started)) == len(started) <= 2
    assert pids <= set(started)


def test_one_that_fails_fails_what_waits(any_face: Face) -> None:
    pool = any_face.pool(1, initializer=fail)
    error = pool.submit(tasks.nothing).exception(HANG)
    assert isinstance(error, any_face.BrokenExecutor)
    cause = any_face.differs(standard=None, ours="ZeroDivisionError", because="the reason is the first question")
    assert cause is None or type(error.__cause__).__name__ == cause


def test_a_lock_of_the_default_context(face: Face) -> None:
    # As tqdm hands its lock to the workers: nobody names a context.
    with face.ProcessPoolExecutor(2, initializer=keep_lock, initargs=(multiprocessing.RLock(),)) as pool:
        assert all(f.result(HANG) for f in [pool.submit(use_lock) for _ in range(4)])


def test_a_lock_of_the_same_context(any_face: Face) -> None:
    context = any_face.context()
    if context == "loky":
        from loky.backend import get_context

        context = get_context("loky")
    pool = any_face.pool(2, initializer=keep_lock, initargs=(context.Lock(),))
    assert all(f.result(HANG) for f in [pool.submit(use_lock) for _ in range(4)])
