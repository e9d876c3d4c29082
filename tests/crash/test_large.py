"""Workers killed half-way through a large result or argument: never a hang, never a lost future."""

from __future__ import annotations

import contextlib
import operator
import os
import signal
from pathlib import Path

from executor import ProcessPoolExecutor, WorkerLost
from tests import deaths
from tests.support import (
    HANG,
    Gate,
    kill,
    kill_when_stuck_while_parent_is_frozen,
    new_gate,
    wait_stopped,
)

LARGE = 100_000_000
LONG = 2 * HANG  # some of these move gigabytes


def test_killed_half_way_through_sending_its_result(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        victim = pool.submit(deaths.stop_and_make_bytes, gate, LARGE)
        behind = [pool.submit(operator.neg, i) for i in range(5)]
        (pid,) = gate.wait_arrivals()
        gate.open()
        kill_when_stuck_while_parent_is_frozen(pid)
        # A result that is handed over in one piece may have arrived; half a result is a lost worker.
        error = victim.exception(LONG)
        assert isinstance(error, WorkerLost) if error else len(victim.result()) == LARGE
        assert [f.result(HANG) for f in behind] == [0, -1, -2, -3, -4]


def test_killed_half_way_through_reading_its_argument(start_method: str, tmp_path: Path) -> None:
    first, second = new_gate(tmp_path), new_gate(tmp_path)
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        pair = [pool.submit(first.stop), pool.submit(first.stop)]
        first.wait_arrivals(2)
        first.open()
        assert [f.result(HANG) for f in pair] == [None, None]
        busy = pool.submit(second.stop)
        (other,) = second.wait_arrivals()
        (stopped,) = {pid for pid, _ in first.arrivals()} - {other}
        os.kill(stopped, signal.SIGSTOP)
        wait_stopped(stopped)
        large = pool.submit(len, bytes(LARGE))
        second.open()
        assert busy.result(HANG) is None
        # The large task is stuck with the stopped worker (or has found the other one); nobody waits for it.
        assert list(pool.map(operator.neg, range(10), timeout=HANG)) == [-i for i in range(10)]
        kill(stopped)
        error = large.exception(LONG)
        assert isinstance(error, WorkerLost) if error else large.result() == LARGE
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_twenty_large_results_and_arguments_cut_off_at_once(tmp_path: Path) -> None:
    warm, hold = new_gate(tmp_path), new_gate(tmp_path)
    with ProcessPoolExecutor(20) as pool:
        started = [pool.submit(warm.stop) for _ in range(20)]
        everyone = set(warm.wait_arrivals(20))
        warm.open()
        assert [f.result(LONG) for f in started] == [None] * 20
        # Ten workers are about to send, the other ten are stopped and get a large argument each.
        results = [pool.submit(deaths.stop_and_make_bytes, hold, LARGE) for _ in range(10)]
        senders = set(hold.wait_arrivals(10))
        readers = everyone - senders
        for pid in readers:
            os.kill(pid, signal.SIGSTOP)
            wait_stopped(pid)
        argument = bytes(LARGE)
        arguments = [pool.submit(len, argument) for _ in range(10)]
        hold.open()
        kill_when_stuck_while_parent_is_frozen(*senders)
        for pid in readers:
            kill(pid)
        for future in results:
            error = future.exception(LONG)
            assert isinstance(error, WorkerLost) if error else len(future.result()) == LARGE
        for future in arguments:
            error = future.exception(LONG)
            assert isinstance(error, WorkerLost) if error else future.result() == LARGE
        assert list(pool.map(operator.neg, range(40), timeout=HANG)) == [-i for i in range(40)]


def test_large_results_and_arguments_in_both_directions_at_once() -> None:
    # Both ends send more than the sockets hold before either has read: neither may wait for the other.
    with ProcessPoolExecutor(2) as pool:
        data = os.urandom(20_000_000)
        futures = [pool.submit(bytes.upper, data) for _ in range(6)]
        expected = data.upper()
        assert all(f.result(LONG) == expected for f in futures)


def test_workers_shot_at_random_while_they_send_and_read(tmp_path: Path) -> None:
    # Each task has its own worker killed some milliseconds later, each at another moment of the transfer.
    with ProcessPoolExecutor(4) as pool:
        futures = [pool.submit(deaths.make_bytes_and_die_soon, LARGE // 4, i * 0.002) for i in range(20)]
        arguments = [pool.submit(len, bytes(LARGE // 4)) for _ in range(4)]
        for future in futures:
            with contextlib.suppress(WorkerLost):
                assert len(future.result(LONG)) == LARGE // 4
        for future in arguments:
            with contextlib.suppress(WorkerLost):
                assert future.result(LONG) == LARGE // 4
        assert pool.submit(operator.neg, 1).result(HANG) == -1
