"""Callbacks of a Pool: on the thread that made it, while it waits."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from executor import Pool
from tests import tasks
from tests.support import HANG, Gate, eventually


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as pool:
        yield pool


class Notes:
    """Callbacks that note what they were given, and in which thread."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[str] = []
        self.threads: set[int] = set()

    def result(self, value: Any) -> None:
        self.results.append(value)
        self.threads.add(threading.get_ident())

    def error(self, error: BaseException) -> None:
        self.errors.append(repr(error))
        self.threads.add(threading.get_ident())


@pytest.fixture
def notes() -> Notes:
    return Notes()


def both(notes: Notes) -> dict[str, Any]:
    return {"callback": notes.result, "error_callback": notes.error}


WAYS_TO_WAIT: dict[str, Callable[[Any], object]] = {
    "get": lambda result: result.get(HANG),
    "wait": lambda result: result.wait(HANG),
    "ready": lambda result: eventually(result.ready),
    "successful": lambda result: (eventually(result.ready), result.successful()),
}


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_a_callback_has_run_in_this_thread_when_the_result_is_there(pool: Pool, notes: Notes, way: str) -> None:
    for n in range(100):
        WAYS_TO_WAIT[way](pool.apply_async(tasks.square, (n,), **both(notes)))
        assert len(notes.results) == n + 1
    WAYS_TO_WAIT[way](pool.map_async(tasks.square, [2, 3], 1, **both(notes)))
    WAYS_TO_WAIT[way](pool.starmap_async(tasks.add, [(1, 2)], **both(notes)))
    assert notes.results == [*(n * n for n in range(100)), [4, 9], [3]]
    assert not notes.errors
    assert notes.threads == {threading.get_ident()}


def test_an_error_callback_gets_the_error(pool: Pool, notes: Notes) -> None:
    pool.apply_async(tasks.raise_value_error, ("no",), **both(notes)).wait(HANG)
    pool.starmap_async(tasks.error_on, [(n, n) for n in range(4)], 1, **both(notes)).wait(HANG)
    assert notes.errors == ["ValueError('no')", "ValueError('bad 0')"]
    assert not notes.results
    assert notes.threads == {threading.get_ident()}


def test_one_callback_may_be_left_out(pool: Pool, notes: Notes) -> None:
    pool.apply_async(tasks.square, (2,), error_callback=notes.error).get(HANG)
    pool.apply_async(tasks.raise_value_error, ("no",), callback=notes.result).wait(HANG)
    pool.map_async(tasks.square, (2,), error_callback=notes.error).get(HANG)
    pool.map_async(tasks.raise_value_error, ["no"], callback=notes.result).wait(HANG)
    assert not notes.results
    assert not notes.errors


def test_the_callback_of_an_empty_map_is_called(pool: Pool, notes: Notes) -> None:
    assert pool.map_async(tasks.square, [], **both(notes)).get(HANG) == []
    assert notes.results == [[]]


def test_callbacks_run_in_join(notes: Notes) -> None:
    pool = Pool(2)
    for n in range(50):
        pool.apply_async(tasks.square, (n,), **both(notes))
    pool.map_async(tasks.square, range(10), 2, **both(notes))
    pool.close()
    assert notes.results == []
    pool.join()
    assert sorted(notes.results, key=str) == sorted([*(n * n for n in range(50)), [n * n for n in range(10)]], key=str)
    assert notes.threads == {threading.get_ident()}


def test_callbacks_run_while_an_imap_is_read(pool: Pool, notes: Notes, gate: Gate) -> None:
    results = pool.imap(tasks.stop_at, [gate])
    called = pool.apply_async(tasks.square, (3,), callback=lambda value: (notes.result(value), gate.open()))
    assert list(results) == [None]  # the callback is what lets it end
    assert notes.results == [called.get(HANG)] == [9]


def test_a_callback_may_use_what_belongs_to_this_thread(pool: Pool) -> None:
    with sqlite3.connect(":memory:", check_same_thread=True) as table:
        table.execute("create table squares (n)")
        for n in range(10):
            pool.apply_async(
                tasks.square, (n,), callback=lambda n: table.execute("insert into squares values (?)", [n])
            )
        pool.close()
        pool.join()
        assert table.execute("select sum(n) from squares").fetchone() == (285,)
    table.close()


def test_a_callback_may_go_on_with_the_pool(pool: Pool, notes: Notes) -> None:
    inner: list[Any] = []
    pool.apply_async(tasks.square, (3,), callback=lambda n: inner.append(pool.apply(tasks.square, (n,)))).wait(HANG)
    assert inner == [81]
    pool.apply_async(tasks.square, (4,), callback=lambda _: pool.terminate()).wait(HANG)
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(tasks.square, (1,))


def test_a_raising_callback_does_not_hang_the_pool(pool: Pool, notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    def fail(value: object) -> None:
        notes.result(value)
        raise LookupError("the callback failed")

    with caplog.at_level(logging.ERROR, "executor"):
        assert pool.apply_async(tasks.square, (3,), callback=fail).get(HANG) == 9
        with pytest.raises(ValueError, match="no"):
            pool.apply_async(tasks.raise_value_error, ("no",), error_callback=fail).get(HANG)
        assert pool.map_async(tasks.square, range(3), 1, callback=fail).get(HANG) == [0, 1, 4]
    assert len(notes.results) == 3
    assert len(caplog.records) == 3
    assert all("the callback failed" in str(record.exc_info) for record in caplog.records)
    assert pool.map(tasks.square, range(10)) == [n * n for n in range(10)]
    pool.close()
    pool.join()


def test_another_thread_does_not_wait_for_callbacks(pool: Pool, notes: Notes) -> None:
    def work() -> list[Any]:
        one = pool.apply_async(tasks.square, (3,), **both(notes))
        many = pool.map_async(tasks.square, range(3), 1, **both(notes))
        return [one.get(HANG), many.get(HANG)]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(work).result(HANG) == [9, [0, 1, 4]]
    assert notes.results == []
    pool.close()
    pool.join()
    assert sorted(notes.results, key=str) == [9, [0, 1, 4]]
    assert notes.threads == {threading.get_ident()}
