"""What WorkerLost tells."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

import executor
from executor import ProcessPoolExecutor, WorkerLost
from tests import deaths
from tests.support import HANG, Gate, kill


def lost_in(function: object, *arguments: object) -> WorkerLost:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(function, *arguments).exception(HANG)  # type: ignore[arg-type]
    assert isinstance(error, WorkerLost)
    return error


def test_it_is_what_callers_of_the_standard_pool_catch() -> None:
    lost = lost_in(deaths.die, "SIGKILL")
    assert isinstance(lost, BrokenProcessPool)
    assert executor.BrokenProcessPool is BrokenProcessPool


@pytest.mark.parametrize(("how", "words"), [("segfault", "Segmentation fault"), ("abort", "Aborted")])
def test_a_crash_in_c_brings_the_stack_it_happened_in(start_method: str, how: str, words: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        lost = pool.submit(deaths.die, how).exception(HANG)
    assert isinstance(lost, WorkerLost)
    assert words in lost.crash_log
    assert "in die" in lost.crash_log
    assert "in die" in str(lost)


def test_the_crash_log_of_one_worker_is_not_told_of_another() -> None:
    with ProcessPoolExecutor(2) as pool:
        first = pool.submit(deaths.die, "segfault").exception(HANG)
        second = pool.submit(deaths.die, "exit-7").exception(HANG)
    assert isinstance(first, WorkerLost)
    assert isinstance(second, WorkerLost)
    assert first.crash_log
    assert not second.crash_log


def test_the_worker_that_died_is_the_one_that_is_named(gate: Gate) -> None:
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(gate.stop, "a"), pool.submit(gate.stop, "b")]
        gate.wait_arrivals(2)
        pids = {note: pid for pid, note in gate.arrivals()}
        kill(pids["a"])
        lost = futures[0].exception(HANG)
        assert isinstance(lost, WorkerLost)
        assert lost.pid == pids["a"]
        gate.open()
        assert futures[1].result(HANG) is None


def test_it_pickles_with_its_facts() -> None:
    lost = lost_in(deaths.die, "SIGKILL")
    again = pickle.loads(pickle.dumps(lost))
    assert type(again) is type(lost)
    assert str(again) == str(lost)
    for fact in ("pid", "exitcode", "signal_name", "task", "crash_log", "worker"):
        assert getattr(again, fact) == getattr(lost, fact)


def test_each_future_has_an_error_of_its_own(gate: Gate) -> None:
    # One exception object shared by several futures would grow a traceback in each place that raises it.
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(gate.stop) for _ in range(2)]
        for pid in gate.wait_arrivals(2):
            kill(pid)
        first, second = (f.exception(HANG) for f in futures)
        assert isinstance(first, WorkerLost)
        assert isinstance(second, WorkerLost)
        assert first is not second


def test_exit_codes_survive_user_code_that_reaps_every_child(start_method: str) -> None:
    """A foreign SIGCHLD handler takes the exit status of fork workers; the loss is told all the same."""

    def reap(*_: object) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    before = signal.signal(signal.SIGCHLD, reap)
    try:
        with ProcessPoolExecutor(1, mp_context=start_method) as pool:
            lost = pool.submit(deaths.die, "SIGKILL").exception(HANG)
            assert isinstance(lost, WorkerLost)
            assert lost.exitcode in (-signal.SIGKILL, None)
            assert pool.submit(abs, -1).result(HANG) == 1
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_ignored_sigchld_loses_no_task(start_method: str) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with ProcessPoolExecutor(1, mp_context=start_method) as pool:
            assert isinstance(pool.submit(deaths.die, "SIGKILL").exception(HANG), WorkerLost)
            assert pool.submit(abs, -1).result(HANG) == 1
    finally:
        signal.signal(signal.SIGCHLD, before)
