"""A worker that does not come to begin what was leased to it: the others do it, and nothing runs twice."""

from __future__ import annotations

import operator
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from executor import Future, ProcessPoolExecutor, wait
from tests.support import HANG, Gate, eventually, wait_stopped


def noted(file: str, x: int) -> int:
    """One line for each that began."""
    with open(file, "ab", buffering=0) as lines:
        lines.write(b"%d\n" % x)
    return -x


def begun(file: Path) -> Counter[int]:
    return Counter(map(int, file.read_bytes().split())) if file.exists() else Counter()


def next_of_two(pool: ProcessPoolExecutor, gate: Gate, file: Path) -> int:
    """The pid of that which gets the next call; both are idle, and it is known that `noted` is quick."""
    futures = [pool.submit(gate.stop) for _ in range(2)]
    gate.wait_arrivals(2)
    gate.open()
    wait(futures, HANG)
    other = file.with_name("warm")
    wait([pool.submit(noted, str(other), x) for x in range(100)], HANG)
    return pool.submit(os.getpid).result(HANG)


@contextmanager
def stopped(pid: int, end: int = signal.SIGCONT) -> Iterator[None]:
    """Stop the worker; in the end it goes on, or is killed."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_stopped(pid)
        yield
    finally:
        os.kill(pid, end)


def undone(futures: list[Future[int]]) -> int:
    return sum(not future.done() for future in futures)


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_all_but_the_first_go_to_the_others(start_method: str, end: int, gate: Gate, tmp_path: Path) -> None:
    file = tmp_path / "begun"
    with ProcessPoolExecutor(2, start_method) as pool:
        with stopped(next_of_two(pool, gate, file), end):
            futures = [pool.submit(noted, str(file), x) for x in range(200)]
            eventually(lambda: undone(futures) <= 1)
        assert [future.result(HANG) for future in futures] == [-x for x in range(200)]
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert begun(file) == Counter(range(200))


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_so_do_the_items_of_a_map(start_method: str, end: int, gate: Gate, tmp_path: Path) -> None:
    file = tmp_path / "begun"
    with ProcessPoolExecutor(2, start_method) as pool:
        with stopped(next_of_two(pool, gate, file), end):
            results = pool.map(noted, [str(file)] * 2000, range(2000), timeout=HANG)
            eventually(lambda: len(begun(file)) >= 1999)
        assert list(results) == [-x for x in range(2000)]
    assert begun(file) == Counter(range(2000))


def test_a_pool_with_no_other_worker_waits_for_it(tmp_path: Path) -> None:
    file = tmp_path / "begun"
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        wait([pool.submit(noted, str(tmp_path / "warm"), x) for x in range(100)], HANG)
        with stopped(pid):
            futures = [pool.submit(noted, str(file), x) for x in range(200)]
            time.sleep(0.1)  # the others have been taken back, and wait for it again
            assert undone(futures) == 200
        assert [future.result(HANG) for future in futures] == [-x for x in range(200)]
    assert begun(file) == Counter(range(200))


def test_the_first_can_be_cancelled_when_the_others_have_gone(gate: Gate, tmp_path: Path) -> None:
    file = tmp_path / "begun"
    with ProcessPoolExecutor(2) as pool:
        with stopped(next_of_two(pool, gate, file)):
            futures = [pool.submit(noted, str(file), x) for x in range(200)]
            eventually(lambda: undone(futures) <= 1)
            left = [future for future in futures if not future.done()]
            assert all(future.cancel() for future in left)
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    cancelled = [x for x, future in enumerate(futures) if future.cancelled()]
    assert len(cancelled) == len(left)
    assert begun(file) == Counter(range(200)) - Counter(cancelled)
