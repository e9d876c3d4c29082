"""The types that users of the package see.  mypy reads this file; nothing runs it."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from contextvars import ContextVar
from logging import Logger
from pathlib import Path
from typing import assert_type

from executor import Executor, Future, Pool, ProcessPoolExecutor, WorkerManager, as_completed, log_to_stderr, wait

request: ContextVar[str] = ContextVar("request")


def length(text: str) -> int:
    return len(text)


def results_have_the_type_of_the_function(pool: ProcessPoolExecutor) -> None:
    future = pool.submit(length, "text")
    assert_type(future, Future[int])
    assert_type(future.result(), int)
    assert_type(future.result(timeout=1.5), int)
    assert_type(future.exception(), BaseException | None)
    assert_type(pool.map(length, ["a", "b"], timeout=1, chunksize=2, buffersize=3), Iterator[int])


def waiting_keeps_the_type(pool: ProcessPoolExecutor) -> None:
    futures = [pool.submit(length, text) for text in ("a", "b")]
    assert_type(next(iter(as_completed(futures))).result(), int)
    done, not_done = wait(futures, timeout=1, return_when=concurrent.futures.FIRST_COMPLETED)
    assert_type(done, set[Future[int]])
    assert_type(not_done, set[Future[int]])


def a_future_is_a_standard_one(future: Future[int]) -> concurrent.futures.Future[int]:
    return future


def a_pool_is_a_standard_one(pool: ProcessPoolExecutor) -> concurrent.futures.ProcessPoolExecutor:
    return pool


def with_gives_the_pool() -> None:
    with Executor(2, "spawn", initializer=length, initargs=("text",), max_tasks_per_child=5) as pool:
        assert_type(pool, ProcessPoolExecutor)


def what_a_pool_does_can_be_seen(path: Path) -> None:
    with Executor(2, trace=path, monitor=True) as pool, pool.trace("run.json") as nothing:
        assert_type(nothing, None)
        assert_type(pool.metrics(), str)


def futures_may_be_arguments(pool: ProcessPoolExecutor) -> None:
    first = pool.submit(str, 5)
    assert_type(pool.submit(length, first).result(), int)


def what_workers_say_and_know() -> None:
    ProcessPoolExecutor(forward_logging="always", context=[request])
    ProcessPoolExecutor(forward_logging=False, context="all")
    ProcessPoolExecutor(env={"LANG": "C"}, worker_threads="auto")
    WorkerManager(forward_logging=False, env={"LANG": "C"}, worker_threads=2)
    Pool(forward_logging="always")
    assert_type(log_to_stderr("DEBUG"), Logger)
