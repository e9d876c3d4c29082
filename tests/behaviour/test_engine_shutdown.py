"""Shutdown, and what races with it: callbacks, submits from other threads, the garbage collector."""

from __future__ import annotations

import gc
import operator
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from executor import Future, ProcessPoolExecutor, as_completed, wait
from tests import deaths
from tests.support import HANG, Gate, eventually, new_gate, wait_gone


def test_it_waits_for_pending_work(start_method: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, mp_context=start_method)
    futures = [pool.submit(gate.stop)] + [pool.submit(operator.neg, i) for i in range(10)]
    gate.wait_arrivals()
    gate.open()
    pool.shutdown()
    assert all(f.done() for f in futures)
    assert futures[-1].result() == -9


def test_without_waiting_pending_work_is_done_all_the_same(start_method: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, mp_context=start_method)
    held = pool.submit(gate.stop)
    (pid,) = gate.wait_arrivals()
    futures = [pool.submit(operator.neg, i) for i in range(10)]
    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(operator.neg, 1)
    assert not held.done()
    gate.open()
    assert [f.result(HANG) for f in futures] == [-i for i in range(10)]
    wait_gone(pid)


def test_cancel_futures_cancels_what_waits_and_wakes_its_waiters(start_method: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, mp_context=start_method)
    held = pool.submit(gate.stop)
    gate.wait_arrivals()
    waiting = [pool.submit(operator.neg, i) for i in range(10)]
    woken: list[int] = []
    threads = [
        threading.Thread(target=lambda: woken.append(len(wait(waiting, HANG).done))),
        threading.Thread(target=lambda: woken.append(len(list(as_completed(waiting, HANG))))),
    ]
    for thread in threads:
        thread.start()
    pool.shutdown(wait=False, cancel_futures=True)
    for thread in threads:
        thread.join(HANG)
    assert woken == [10, 10]
    assert all(f.cancelled() for f in waiting)
    gate.open()
    assert held.result(HANG) is None
    pool.shutdown()


def test_twice_and_from_two_threads(gate: Gate) -> None:
    pool = ProcessPoolExecutor(1)
    future = pool.submit(gate.stop)
    gate.wait_arrivals()
    threads = [threading.Thread(target=pool.shutdown) for _ in range(2)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive()
    assert future.result() is None
    pool.shutdown()


def test_a_death_after_shutdown_still_gets_a_replacement(start_method: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, mp_context=start_method)
    victim = pool.submit(deaths.die_at_gate, "SIGKILL", gate)
    gate.wait_arrivals()
    behind = [pool.submit(operator.neg, i) for i in range(5)]
    pool.shutdown(wait=False)
    gate.open()
    assert victim.exception(HANG) is not None
    assert [f.result(HANG) for f in behind] == [0, -1, -2, -3, -4]
    pool.shutdown()


# --- done callbacks -----------------------------------------------------------------------------------------


def leave(_: Future) -> None:
    sys.exit(3)


def interrupt(_: Future) -> None:
    raise KeyboardInterrupt


# The standard Future lets both through to whoever settles it, and a worker thread that ends so warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("callback", [leave, interrupt])
def test_a_done_callback_that_raises_a_base_exception(callback: Callable[[Future], None], gate: Gate) -> None:
    with ProcessPoolExecutor(2) as pool:
        held = pool.submit(gate.stop)
        gate.wait_arrivals()
        held.add_done_callback(callback)
        futures = [pool.submit(operator.neg, i) for i in range(50)]
        gate.open()
        # Nobody waits in a way that would run the callback here, before the rest is done.
        eventually(lambda: all(f.done() for f in futures))
        eventually(held.done)
        assert [f.result(HANG) for f in futures] == [-i for i in range(50)]
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_a_done_callback_that_raises_is_logged(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    with ProcessPoolExecutor(1) as pool:
        held = pool.submit(gate.stop)
        held.add_done_callback(lambda f: operator.truediv(1, 0))
        gate.open()
        assert held.result(HANG) is None
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert "division by zero" in caplog.text or "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("cancels", [True, False])
def test_a_done_callback_that_shuts_the_executor_down(waits: bool, cancels: bool, gate: Gate, tmp_path: Path) -> None:
    behind_gate = new_gate(tmp_path)
    pool = ProcessPoolExecutor(2)
    first = pool.submit(gate.stop)
    gate.wait_arrivals()
    other = pool.submit(behind_gate.stop)
    behind_gate.wait_arrivals()
    first.add_done_callback(lambda _: pool.shutdown(wait=waits, cancel_futures=cancels))
    futures = [pool.submit(operator.neg, i) for i in range(20)]
    gate.open()
    assert first.result(HANG) is None
    behind_gate.open()
    assert wait([other, *futures], HANG).not_done == set()
    assert other.result() is None
    assert all(f.cancelled() or f.result() == -i for i, f in enumerate(futures))
    if not cancels:
        assert not any(f.cancelled() for f in futures)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(operator.neg, 1)


@pytest.mark.parametrize("verb", ["kill_workers", "terminate_workers"])
def test_a_done_callback_that_ends_the_workers(verb: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(2)
    first = pool.submit(operator.neg, 1)
    futures = [pool.submit(gate.stop) for _ in range(5)]
    first.add_done_callback(lambda _: getattr(pool, verb)())
    assert first.result(HANG) == -1
    assert wait(futures, HANG).not_done == set()
    pool.shutdown()


def test_a_done_callback_that_submits() -> None:
    with ProcessPoolExecutor(1) as pool:
        results: list[int] = []
        ended = threading.Event()

        def again(future: Future) -> None:
            results.append(future.result())
            if len(results) < 20:
                pool.submit(operator.neg, len(results)).add_done_callback(again)
            else:
                ended.set()

        pool.submit(operator.neg, 0).add_done_callback(again)
        assert ended.wait(HANG)
    assert results == [-i for i in range(20)]


def test_a_done_callback_that_waits_for_another_future(gate: Gate) -> None:
    """It runs where futures are settled.  Whether it may wait there is not promised; it must not hang."""
    with ProcessPoolExecutor(2) as pool:
        seen: list[object] = []
        second = pool.submit(gate.stop)
        gate.wait_arrivals()
        first = pool.submit(operator.neg, 1)

        def look(_: Future) -> None:
            gate.open()
            try:
                seen.append(second.result(1))
            except TimeoutError as error:
                seen.append(error)

        first.add_done_callback(look)
        eventually(lambda: seen)
        assert second.result(HANG) is None


# --- races --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cancels", [True, False])
def test_submits_racing_with_shutdown(start_method: str, cancels: bool) -> None:
    """Each submit either gives a future that ends, or is refused."""
    pool = ProcessPoolExecutor(2, mp_context=start_method)
    futures: list[list[Future]] = [[] for _ in range(4)]
    refused = threading.Barrier(5)

    def submit(mine: list[Future]) -> None:
        with pytest.raises(RuntimeError, match="shutdown"):
            while True:
                mine.append(pool.submit(operator.neg, len(mine)))
                if len(mine) > 500:
                    wait(mine[-100:-99], HANG)
        refused.wait(HANG)

    threads = [threading.Thread(target=submit, args=(mine,)) for mine in futures]
    for thread in threads:
        thread.start()
    eventually(lambda: all(len(mine) > 50 for mine in futures))
    pool.shutdown(wait=True, cancel_futures=cancels)
    refused.wait(HANG)
    for thread in threads:
        thread.join(HANG)
    for mine in futures:
        assert wait(mine, HANG).not_done == set()
        assert all(f.cancelled() or f.result() == -i for i, f in enumerate(mine))
        if not cancels:
            assert not any(f.cancelled() for f in mine)


@pytest.mark.parametrize("verb", ["kill_workers", "terminate_workers"])
def test_submits_racing_with_the_end_of_the_workers(verb: str) -> None:
    pool = ProcessPoolExecutor(2)
    futures: list[Future] = []

    def submit() -> None:
        with pytest.raises(RuntimeError):
            while True:
                futures.append(pool.submit(operator.neg, 1))

    thread = threading.Thread(target=submit)
    thread.start()
    eventually(lambda: len(futures) > 50)
    getattr(pool, verb)()
    thread.join(HANG)
    assert not thread.is_alive()
    assert wait(futures, HANG).not_done == set()


def test_many_threads_submit_and_wait_at_once() -> None:
    with ProcessPoolExecutor(2) as pool:
        wrong: list[object] = []

        def work(base: int) -> None:
            numbers = range(base, base + 100)
            if [pool.submit(operator.neg, i).result(HANG) for i in numbers] != [-i for i in numbers]:
                wrong.append(base)

        threads = [threading.Thread(target=work, args=(1000 * t,)) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * HANG)
            assert not thread.is_alive()
        assert wrong == []


# --- garbage ------------------------------------------------------------------------------------------------


def test_a_collected_executor_finishes_its_work(start_method: str, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, mp_context=start_method)
    seen = weakref.ref(pool)
    held = pool.submit(gate.stop)
    (pid,) = gate.wait_arrivals()
    futures = [pool.submit(operator.neg, i) for i in range(5)]
    del pool
    gc.collect()
    assert seen() is None
    gate.open()
    assert held.result(HANG) is None
    assert [f.result(HANG) for f in futures] == [0, -1, -2, -3, -4]
    wait_gone(pid)


def test_a_collected_executor_that_is_idle_leaves_nothing(start_method: str) -> None:
    pool = ProcessPoolExecutor(1, mp_context=start_method)
    pid = pool.submit(os.getpid).result(HANG)
    del pool
    gc.collect()
    wait_gone(pid)


def test_an_executor_in_a_cycle_is_collected_on_another_thread(gate: Gate) -> None:
    class Owner:
        def __init__(self) -> None:
            self.me = self
            self.pool = ProcessPoolExecutor(1)

    owner = Owner()
    held = owner.pool.submit(gate.stop)
    (pid,) = gate.wait_arrivals()
    del owner
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join(HANG)
    gate.open()
    assert held.result(HANG) is None
    wait_gone(pid)


def test_the_last_reference_goes_in_a_done_callback(gate: Gate) -> None:
    box = [ProcessPoolExecutor(1)]
    held = box[0].submit(gate.stop)
    (pid,) = gate.wait_arrivals()
    behind = box[0].submit(operator.neg, 1)
    held.add_done_callback(lambda _: box.clear())
    gate.open()
    assert behind.result(HANG) == -1
    wait_gone(pid)
    assert box == []


def test_a_map_outlives_the_name_of_its_executor() -> None:
    results = ProcessPoolExecutor(2).map(operator.neg, range(100))
    gc.collect()
    assert list(results) == [-i for i in range(100)]


def test_executors_made_and_dropped_by_the_dozen(start_method: str) -> None:
    for i in range(4):
        assert ProcessPoolExecutor(1, mp_context=start_method).submit(operator.neg, i).result(HANG) == -i


def test_an_executor_that_was_never_used() -> None:
    ProcessPoolExecutor(2)
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(operator.neg, [])) == []
