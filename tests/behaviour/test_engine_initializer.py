"""The initializer: once a worker, and what follows when it raises."""

from __future__ import annotations

import multiprocessing
import operator
import os
import threading
from typing import Any

import pytest

from executor import BrokenProcessPool, InitializerError, ProcessPoolExecutor, WorkerLost
from tests import deaths
from tests.support import HANG, Gate, kill, told


def test_it_runs_once_in_each_worker_and_in_each_replacement(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, initializer=gate.arrive, initargs=("init",)) as pool:
        first = pool.submit(os.getpid).result(HANG)
        assert pool.submit(os.getpid).result(HANG) == first
        assert isinstance(pool.submit(deaths.die, "SIGKILL").exception(HANG), WorkerLost)
        second = pool.submit(os.getpid).result(HANG)
    assert gate.arrivals()[:2] == [(first, "init"), (second, "init")]
    assert len(gate.arrivals()) == 2


def test_it_runs_before_the_first_task() -> None:
    with ProcessPoolExecutor(1, initializer=deaths.remember, initargs=("for later",)) as pool:
        assert pool.submit(deaths.recall).result(HANG) == "for later"


def test_when_it_raises_everything_pending_fails_with_its_exception(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, initializer=deaths.stop_and_divide, initargs=(gate,)) as pool:
        futures = [pool.submit(operator.neg, i) for i in range(10)]
        gate.open()
        errors = [f.exception(HANG) for f in futures]
    for error in errors:
        assert isinstance(error, InitializerError)
        assert isinstance(error, BrokenProcessPool)
        assert type(error.__cause__) is ZeroDivisionError
        assert "in stop_and_divide" in told(error)
    # One error for each future: a shared one would collect tracebacks.
    assert len({id(e) for e in errors}) == len(errors)
    # No endless respawning: not more starts than workers, but for one in flight each.
    assert len(gate.arrivals()) <= 4


def test_when_it_raises_later_submits_do_not_hang() -> None:
    with ProcessPoolExecutor(1, initializer=deaths.divide, initargs=(1, 0)) as pool:
        assert isinstance(pool.submit(operator.neg, 1).exception(HANG), InitializerError)
        for _ in range(3):
            error = refusal(pool)
            assert isinstance(error, BrokenProcessPool)
            assert "division by zero" in told(error)


def refusal(pool: ProcessPoolExecutor) -> BaseException | None:
    """How a submit fails, at once or by its future."""
    try:
        return pool.submit(operator.neg, 1).exception(HANG)
    except BrokenProcessPool as error:
        return error


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, deaths.NeedsKeyword])
def test_whatever_it_raises(kind: type[BaseException]) -> None:
    function = deaths.raise_needs_keyword if kind is deaths.NeedsKeyword else deaths._raise
    arguments = () if kind is deaths.NeedsKeyword else (kind, "stop here")
    with ProcessPoolExecutor(1, initializer=function, initargs=arguments) as pool:
        error = pool.submit(operator.neg, 1).exception(HANG)
    assert isinstance(error, InitializerError)
    assert error.__cause__ is not None
    assert kind.__name__ in told(error)


def test_one_that_cannot_be_pickled(start_method: str) -> None:
    arguments = (threading.Lock(),)
    with ProcessPoolExecutor(1, mp_context=start_method, initializer=deaths.same, initargs=arguments) as pool:
        error = pool.submit(operator.neg, 1).exception(HANG)
        # A forked worker may have inherited it.
        if not (start_method == "fork" and error is None):
            assert isinstance(error, BrokenProcessPool)
            assert "cannot pickle '_thread.lock' object" in told(error)


def test_one_that_cannot_be_loaded() -> None:
    rotten = deaths.RaisesOnLoad(ValueError, "rotten")
    with ProcessPoolExecutor(1, initializer=deaths.same, initargs=(rotten,)) as pool:
        error = pool.submit(operator.neg, 1).exception(HANG)
    assert isinstance(error, BrokenProcessPool)
    assert "rotten" in told(error)


def test_a_lock_of_the_default_context_can_be_its_argument() -> None:
    """tqdm passes one, and no context: the executor's own default is another."""
    lock = multiprocessing.RLock()
    with ProcessPoolExecutor(1, initializer=deaths.remember, initargs=(lock,)) as pool:
        assert pool.submit(deaths.try_remembered_lock).result(HANG) is True
        lock.acquire()
        try:
            assert pool.submit(deaths.try_remembered_lock).result(HANG) is False
        finally:
            lock.release()
        # A replacement gets it too.
        assert isinstance(pool.submit(deaths.die, "exit-7").exception(HANG), WorkerLost)
        assert pool.submit(deaths.try_remembered_lock).result(HANG) is True


def test_a_lock_of_its_context_can_be_its_argument(start_method: str) -> None:
    context = loky_context() if start_method == "loky" else multiprocessing.get_context(start_method)
    lock = context.RLock()
    with ProcessPoolExecutor(1, mp_context=context, initializer=deaths.remember, initargs=(lock,)) as pool:
        assert pool.submit(deaths.try_remembered_lock).result(HANG) is True
        lock.acquire()
        try:
            assert pool.submit(deaths.try_remembered_lock).result(HANG) is False
        finally:
            lock.release()


def loky_context() -> Any:
    from loky.backend.context import get_context

    return get_context("loky")


def test_workers_killed_while_it_runs(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, initializer=gate.stop) as pool:
        future = pool.submit(operator.neg, 1)
        (pid,) = gate.wait_arrivals()
        kill(pid)
        gate.open()
        assert future.result(HANG) == -1


def test_it_must_be_callable() -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        ProcessPoolExecutor(1, initializer=3)  # type: ignore[arg-type]
