"""More workers than cores: quick calls wait for a busy one rather than wake another, and never in vain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import pytest

from executor import ProcessPoolExecutor
from executor._spin import cores
from tests import tasks
from tests.support import HANG, Gate

MANY = cores() + 3


def stopping_at(gate: Gate, bad: int, x: int) -> int:
    if x >= bad:
        gate.stop(str(x))
    return x


def pid_after(seconds: float) -> int:
    if seconds:
        time.sleep(seconds)
    return tasks.pid()


@pytest.fixture
def pool(start_method: str) -> Iterator[ProcessPoolExecutor]:
    """With all its workers up."""
    with ProcessPoolExecutor(MANY, mp_context=start_method) as pool:
        wait(pool.broadcast(tasks.nothing), HANG)
        yield pool


def known_as_quick(pool: ProcessPoolExecutor, fn: Any, *args: Any) -> None:
    wait([pool.submit(fn, *args) for _ in range(200)], HANG)


def test_a_call_does_not_wait_for_workers_that_do_not_come_back(pool: ProcessPoolExecutor, gate: Gate) -> None:
    known_as_quick(pool, stopping_at, gate, 0, -1)
    held = [pool.submit(stopping_at, gate, 0, x) for x in range(MANY - 1)]
    assert pool.submit(stopping_at, gate, 0, -1).result(HANG) == -1  # the last worker is idle
    gate.wait_arrivals(MANY - 1)
    assert not any(future.done() for future in held)
    gate.open()
    assert [future.result(HANG) for future in held] == list(range(MANY - 1))


def test_what_has_become_slow_is_for_all_workers(pool: ProcessPoolExecutor) -> None:
    known_as_quick(pool, pid_after, 0)
    futures = [pool.submit(pid_after, 0.02) for _ in range(20 * MANY)]
    assert len({future.result(HANG) for future in futures}) == MANY


def test_what_a_map_has_made_slow_is_for_all_workers(pool: ProcessPoolExecutor) -> None:
    known_as_quick(pool, pid_after, 0)
    assert len(set(pool.map(pid_after, [0] * 500 + [0.02] * 20 * MANY))) == MANY


def test_callers_on_many_threads(pool: ProcessPoolExecutor) -> None:
    known_as_quick(pool, tasks.square, 2)
    found: list[list[int]] = []

    def call(first: int) -> None:
        found.append([pool.submit(tasks.square, x).result(HANG) for x in range(first, first + 300)])

    threads = [threading.Thread(target=call, args=(1000 * number,)) for number in range(2 * MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [[x * x for x in range(1000 * number, 1000 * number + 300)] for number in range(2 * MANY)]
    assert sorted(found) == expected
