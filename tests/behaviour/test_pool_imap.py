"""imap reads its iterable lazily: a bounded way ahead, and never in the way of results."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest

from executor import Pool
from tests import tasks
from tests.support import HANG, Gate, eventually


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as pool:
        yield pool


class Source:
    """An endless iterable that counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.taken += 1
        return self.taken - 1


MOST_AHEAD = 512  # items or chunks for each process


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_an_endless_iterable_is_read_a_bounded_way_ahead(pool: Pool, name: str) -> None:
    source = Source()
    results = getattr(pool, name)(tasks.same, source)
    for n in range(3000):
        next(results)
        assert source.taken <= n + 1 + 2 * MOST_AHEAD


def test_an_endless_iterable_is_read_in_chunks(pool: Pool) -> None:
    source = Source()
    results = pool.imap(tasks.same, source, chunksize=3)
    assert [next(results) for _ in range(1000)] == list(range(1000))
    assert source.taken % 3 == 0


def test_long_tasks_are_read_few_ahead(pool: Pool, gate: Gate) -> None:
    source = Source()
    results = pool.imap(tasks.stop_at, (gate for _ in source))
    gate.wait_arrivals(2)
    assert source.taken <= 4
    gate.open()
    assert [next(results) for _ in range(20)] == [None] * 20


def test_a_pool_serves_others_beside_an_endless_imap(pool: Pool) -> None:
    first, second = (pool.imap(tasks.same, Source()) for _ in range(2))
    for n in range(50):
        assert next(first) == next(second) == n
    assert pool.map(tasks.square, range(10)) == [n * n for n in range(10)]


def test_results_do_not_wait_for_the_iterable(pool: Pool) -> None:
    seen = threading.Event()

    def ask_after_the_answer() -> Iterator[int]:
        yield 2
        assert seen.wait(HANG)
        yield 3

    for chunksize in (1, 1):
        seen.clear()
        results = pool.imap(tasks.square, ask_after_the_answer(), chunksize)
        assert next(results) == 4
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(timeout=0.01)
        seen.set()
        assert results.next(timeout=HANG) == 9
        with pytest.raises(StopIteration):
            results.next(timeout=HANG)


def test_an_imap_that_nobody_reads_is_finished_by_join(tmp_path: Any) -> None:
    marks = [str(tmp_path / str(n)) for n in range(3000)]
    pool = Pool(2)
    pool.imap_unordered(tasks.touch, iter(marks))
    pool.close()
    pool.join()
    assert len(os.listdir(tmp_path)) == 3000


def test_a_collection_is_worked_through_before_its_results_are_read(pool: Pool, tmp_path: Any) -> None:
    marks = [str(tmp_path / str(n)) for n in range(3000)]
    results = pool.imap(tasks.touch, marks)
    eventually(lambda: len(os.listdir(tmp_path)) == 3000)
    assert list(results) == marks


def test_an_imap_is_read_to_its_end_after_close() -> None:
    pool = Pool(2)
    results = pool.imap(tasks.same, iter(range(3000)))
    pool.close()
    assert list(results) == list(range(3000))
    pool.join()


def test_terminate_ends_an_imap_that_waits_for_its_iterable(pool: Pool) -> None:
    goes_on = threading.Event()

    def wait_once() -> Iterator[int]:
        goes_on.wait(HANG)
        yield 1

    results = pool.imap(tasks.same, wait_once())
    with ThreadPoolExecutor(1) as thread:
        reader = thread.submit(next, results)
        pool.terminate()
        with pytest.raises(CancelledError):
            reader.result(HANG)
    goes_on.set()  # its thread ends
