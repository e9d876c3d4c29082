"""Workers: how many, when they start, and how they are ended."""

from __future__ import annotations

import gc
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import loky
import pytest

from executor import (
    ALL_COMPLETED,
    BrokenProcessPool,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    _revocation,
    as_completed,
    wait,
)
from tests import deaths
from tests.support import HANG, Gate, alive, cases, eventually, new_gate, wait_gone, wait_stopped


def test_one_task_starts_one_worker(start_method: str) -> None:
    with ProcessPoolExecutor(4, mp_context=start_method) as pool:
        assert pool.stats().workers == ()
        pids = {pool.submit(os.getpid).result(HANG) for _ in range(10)}
        assert len(pids) == 1
        assert [w.pid for w in pool.stats().workers] == list(pids)


def test_never_more_than_max_workers(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(3, mp_context=start_method) as pool:
        futures = [pool.submit(gate.stop) for _ in range(12)]
        gate.wait_arrivals(3)
        assert len(pool.stats().workers) == 3
        assert len(gate.arrivals()) == 3
        gate.open()
        assert wait(futures, HANG).not_done == set()
        assert len({pid for pid, _ in gate.arrivals()}) == 3


def test_tasks_wait_for_a_worker_in_the_order_of_their_submission(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(gate.stop, "first")
        futures = [pool.submit(gate.arrive, str(i)) for i in range(30)]
        gate.wait_arrivals()
        gate.open()
        assert wait([first, *futures], HANG, ALL_COMPLETED).not_done == set()
    assert [note for _, note in gate.arrivals()] == ["first", *map(str, range(30))]


def test_the_default_is_what_the_cgroup_allows() -> None:
    with ProcessPoolExecutor() as pool:
        assert pool._max_workers == loky.cpu_count()


def test_a_context_of_multiprocessing_is_taken_as_it_is() -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(multiprocessing.get_start_method).result(HANG)
        # Forked: the worker's parent is this very process.
        assert pool.submit(os.getppid).result(HANG) == os.getpid()


def test_the_default_start_method_does_not_fork_this_process() -> None:
    with ProcessPoolExecutor(1) as pool:
        # Under forkserver, the parent of a worker is the server.
        assert pool.submit(os.getppid).result(HANG) != os.getpid()


def test_an_unknown_start_method_is_refused() -> None:
    with pytest.raises(ValueError, match="spork"):
        ProcessPoolExecutor(1, mp_context="spork")


@pytest.mark.parametrize("count", [0, -1])
def test_at_least_one_worker(count: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        ProcessPoolExecutor(count)


def test_workers_are_not_daemonic(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert pool.submit(deaths.run_a_process, 7).result(HANG) == 7


def test_workers_leave_with_the_executor(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        for _ in range(2):
            pool.submit(gate.stop)
        pids = gate.wait_arrivals(2)
        gate.open()
    # shutdown(wait=True) has waited for them
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize(("start_method", "verb"), cases(["terminate_workers"], ["kill_workers"]))
def test_ending_all_workers_at_once(start_method: str, verb: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(2, mp_context=start_method)
    running = [pool.submit(gate.stop) for _ in range(2)]
    pids = gate.wait_arrivals(2)
    waiting = [pool.submit(operator.neg, i) for i in range(10)]
    getattr(pool, verb)()
    wait_gone(*pids)
    assert wait(running + waiting, HANG).not_done == set()
    for future in running:
        assert isinstance(future.exception(), BrokenProcessPool)
    for future in waiting:
        assert future.cancelled() or isinstance(future.exception(), BrokenProcessPool)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(abs, 1)


@pytest.mark.parametrize("verb", ["terminate_workers", "kill_workers"])
def test_ending_workers_that_are_idle_or_never_started(verb: str) -> None:
    pool = ProcessPoolExecutor(2)
    getattr(pool, verb)()
    pool = ProcessPoolExecutor(2)
    pid = pool.submit(os.getpid).result(HANG)
    getattr(pool, verb)()
    wait_gone(pid)
    getattr(pool, verb)()
    pool.shutdown()


def test_terminate_workers_lets_a_task_clean_up(gate: Gate) -> None:
    pool = ProcessPoolExecutor(1)
    pool.submit(deaths.stop_and_note_sigterm, gate)
    (pid,) = gate.wait_arrivals()
    pool.terminate_workers()
    wait_gone(pid)
    assert ("cleaned up") in [note for _, note in gate.arrivals()]


def test_terminate_workers_ends_workers_that_ignore_sigterm(gate: Gate) -> None:
    pool = ProcessPoolExecutor(3)
    futures = [pool.submit(deaths.ignore_sigterm_and_stop, gate) for _ in range(3)]
    pids = gate.wait_arrivals(3)
    pool.terminate_workers()
    wait_gone(*pids)
    assert all(isinstance(f.exception(HANG), BrokenProcessPool) for f in futures)


def test_kill_workers_takes_what_the_tasks_started_along(gate: Gate) -> None:
    pool = ProcessPoolExecutor(1)
    pool.submit(deaths.start_sleeper_and_stop, gate)
    gate.wait_arrivals(1)
    sleeper = int(gate.arrivals()[0][1])
    assert alive(sleeper)
    pool.kill_workers()
    wait_gone(sleeper)


def test_cancelling_a_pending_task_wakes_who_waits_for_it(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(gate.stop)
        gate.wait_arrivals()
        pending = [pool.submit(operator.neg, i) for i in range(5)]
        assert running.running()
        assert not running.cancel()
        assert pending[2].cancel()
        assert pending[2].cancelled()
        assert wait([pending[2]], HANG).done == {pending[2]}
        assert list(as_completed([pending[2]], HANG)) == [pending[2]]
        gate.open()
        assert [f.result(HANG) for f in pending if not f.cancelled()] == [0, -1, -3, -4]
        with pytest.raises(CancelledError):
            pending[2].result(HANG)


def test_many_cancelled_tasks_never_run(gate: Gate, tmp_path: Path) -> None:
    ran = new_gate(tmp_path)
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(gate.stop)
        gate.wait_arrivals()
        pending = [pool.submit(ran.arrive, str(i)) for i in range(100)]
        kept = [f for i, f in enumerate(pending) if i % 3 == 0]
        assert all(f.cancel() for i, f in enumerate(pending) if i % 3)
        gate.open()
        assert wait([running, *kept], HANG).not_done == set()
    assert [note for _, note in ran.arrivals()] == [str(i) for i in range(0, 100, 3)]


def test_a_task_that_is_leased_but_not_begun_can_be_cancelled(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert len(list(pool.map(operator.neg, range(500), timeout=HANG))) == 500
        running = pool.submit(gate.stop, "running")
        behind = [pool.submit(gate.arrive, str(i)) for i in range(10)]
        gate.wait_arrivals()
        assert running.running()
        assert not any(f.running() for f in behind)
        assert all(f.cancel() for f in behind)
        gate.open()
        assert running.result(HANG) is None
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert [note for _, note in gate.arrivals()] == ["running"]


@pytest.mark.parametrize("leader", ["the caller", "another thread"])
def test_a_task_that_its_worker_cannot_begin_can_be_cancelled(
    leader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_revocation, "RECALL_WITHIN", 10 * HANG)  # who waits for it is told, and does not give up
    ran = new_gate(tmp_path)
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        os.kill(pid, signal.SIGSTOP)
        wait_stopped(pid)
        leased, behind = pool.submit(ran.arrive), pool.submit(operator.neg, 1)
        waiting = threading.Thread(target=behind.result)
        if leader == "another thread":
            waiting.start()
            eventually(lambda: pool._session.engine.loop._leading)
        called: list[Future[object]] = []
        leased.add_done_callback(called.append)
        assert leased.cancel()
        assert called == [leased]
        os.kill(pid, signal.SIGCONT)
        assert behind.result(HANG) == -1
        if waiting.ident is not None:
            waiting.join(HANG)
    assert ran.arrivals() == []


def test_running_is_told_while_it_runs_and_not_before(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        first, second = pool.submit(gate.stop), pool.submit(gate.stop)
        gate.wait_arrivals()
        eventually(first.running)
        assert not second.running()
        gate.open()
        assert first.result(HANG) is second.result(HANG) is None
        assert not first.running()


def test_the_workers_ignore_sigint(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        future: Future = pool.submit(gate.stop)
        (pid,) = gate.wait_arrivals()
        os.kill(pid, signal.SIGINT)
        gate.open()
        assert future.result(HANG) is None
        assert pool.submit(os.getpid).result(HANG) == pid


PRELOADS = """
import multiprocessing
from executor import ProcessPoolExecutor

multiprocessing.set_forkserver_preload(["colorsys"])
with ProcessPoolExecutor(1, "forkserver") as pool:
    assert pool.submit(eval, "'colorsys' in __import__('sys').modules").result()
"""


def test_what_the_program_has_the_fork_server_preload_is_in_workers() -> None:
    subprocess.run([sys.executable, "-c", PRELOADS], check=True, timeout=HANG)


# --- garbage collection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_a_forked_worker_does_not_collect_what_it_inherited(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        assert pool.submit(gc.get_freeze_count).result(HANG) > 1000
    assert gc.get_freeze_count() < 1000


def test_what_the_program_has_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        with ProcessPoolExecutor(1, "fork") as pool:
            assert pool.submit(gc.get_freeze_count).result(HANG) > 1000
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()
