"""The pools that are measured, each behind the same few calls.

An adapter hands out the pool's own bound methods wherever their signature allows it: what a benchmark
times must be the pool, not the adapter. Imports stand inside the functions, so that a process which
measures one pool never loads another.
"""

from __future__ import annotations

import multiprocessing
import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

OURS = "executor"
WORKERS = 2
"""Every benchmark that does not say otherwise uses two workers, as the marks were set on two cores."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One open pool.

    ``submit(fn, *args)`` gives a handle, ``result(handle)`` waits for its value, ``done(handle)`` asks;
    ``map(fn, items, chunksize)`` gives the results in order, chunksize None is the pool's own default.
    """

    submit: Callable[..., Any]
    result: Callable[[Any], Any]
    done: Callable[[Any], bool]
    map: Callable[[Callable[..., Any], Iterable[Any], int | None], Iterable[Any]]
    close: Callable[[], Any]


Opener = Callable[..., Pool]
"""``opener(workers, **options)``; the options differ from pool to pool: ``method``, ``max_tasks``."""


def futures_map(pool: Any) -> Callable[[Callable[..., Any], Iterable[Any], int | None], Iterable[Any]]:
    """The map of anything with the face of concurrent.futures."""

    def mapped(fn: Callable[..., Any], items: Iterable[Any], chunksize: int | None) -> Iterable[Any]:
        if chunksize is None:
            return pool.map(fn, items)  # type: ignore[no-any-return]
        return pool.map(fn, items, chunksize=chunksize)  # type: ignore[no-any-return]

    return mapped


result_of, is_done = operator.methodcaller("result"), operator.methodcaller("done")
get_of, is_ready = operator.methodcaller("get"), operator.methodcaller("ready")


def with_futures(pool: Any) -> Pool:
    """Any pool with the face of concurrent.futures."""
    return Pool(pool.submit, result_of, is_done, futures_map(pool), pool.shutdown)


def open_executor(
    workers: int = WORKERS, method: str | None = None, max_tasks: int | None = None, retries: int = 0
) -> Pool:
    """Ours."""
    from executor import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers, method, max_tasks_per_child=max_tasks, task_retries=retries)
    return with_futures(pool)


def open_futures(workers: int = WORKERS, method: str = "fork", max_tasks: int | None = None) -> Pool:
    """concurrent.futures.ProcessPoolExecutor."""
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context(method)
    return with_futures(ProcessPoolExecutor(workers, context, max_tasks_per_child=max_tasks))


def open_multiprocessing(workers: int = WORKERS, method: str = "fork", max_tasks: int | None = None) -> Pool:
    """multiprocessing.Pool."""
    pool = multiprocessing.get_context(method).Pool(workers, maxtasksperchild=max_tasks)

    def submit(fn: Callable[..., Any], *args: Any) -> Any:
        return pool.apply_async(fn, args)

    def close() -> None:
        pool.terminate()
        pool.join()

    return Pool(submit, get_of, is_ready, pool.map, close)


def open_loky(workers: int = WORKERS) -> Pool:
    """loky.ProcessPoolExecutor."""
    import loky

    return with_futures(loky.ProcessPoolExecutor(workers))


def open_pebble(workers: int = WORKERS, max_tasks: int = 0) -> Pool:
    """pebble.ProcessPool, with fork: the default context of Python 3.13 and before."""
    import pebble

    pool = pebble.ProcessPool(workers, max_tasks=max_tasks, context=multiprocessing.get_context("fork"))

    def submit(fn: Callable[..., Any], *args: Any) -> Any:
        return pool.schedule(fn, args=args)

    def mapped(fn: Callable[..., Any], items: Iterable[Any], chunksize: int | None) -> Iterable[Any]:
        return pool.map(fn, items, chunksize=chunksize or 1).result()  # type: ignore[no-any-return]

    def close() -> None:
        pool.stop()
        pool.join()

    return Pool(submit, result_of, is_done, mapped, close)


def open_deadpool(workers: int = WORKERS, max_tasks: int | None = None) -> Pool:
    """deadpool.Deadpool, with its default forkserver."""
    import deadpool

    return with_futures(deadpool.Deadpool(workers, max_tasks_per_child=max_tasks))


def open_mpire(workers: int = WORKERS) -> Pool:
    """mpire.WorkerPool, with fork, its default."""
    import mpire

    pool = mpire.WorkerPool(workers, keep_alive=True)

    def submit(fn: Callable[..., Any], *args: Any) -> Any:
        return pool.apply_async(fn, args)

    def mapped(fn: Callable[..., Any], items: Iterable[Any], chunksize: int | None) -> Iterable[Any]:
        return pool.map(fn, items, chunk_size=chunksize)  # type: ignore[no-any-return]

    return Pool(submit, get_of, is_ready, mapped, pool.terminate)


def open_joblib(workers: int = WORKERS) -> Pool:
    """joblib.Parallel over its loky backend, kept open between calls. It has no submit."""
    import joblib

    def mapped(fn: Callable[..., Any], items: Iterable[Any], chunksize: int | None) -> Iterable[Any]:
        delayed = joblib.delayed(fn)
        parallel = joblib.Parallel(n_jobs=workers, batch_size=chunksize or "auto")
        return parallel(delayed(item) for item in items)  # type: ignore[no-any-return]

    def submit(fn: Callable[..., Any], *args: Any) -> Any:
        raise NotImplementedError("joblib has no submit")

    def close() -> None:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown()

    return Pool(submit, get_of, is_ready, mapped, close)


@dataclass(frozen=True, slots=True)
class Peer:
    """A pool by its name in the tables, with the distribution it comes from (None: the standard library)."""

    label: str
    distribution: str | None
    open: Opener

    @contextmanager
    def opened(self, workers: int = WORKERS, **options: Any) -> Iterator[Pool]:
        """The pool, open; closed at the end, but not after an error: its close may then hang."""
        pool = self.open(workers, **options)
        yield pool
        pool.close()


EXECUTOR = Peer(OURS, "executor-pool", open_executor)
FUTURES = Peer("concurrent.futures", None, open_futures)
POOL = Peer("multiprocessing.Pool", None, open_multiprocessing)
LOKY = Peer("loky", "loky", open_loky)
PEBBLE = Peer("pebble", "pebble", open_pebble)
DEADPOOL = Peer("deadpool", "deadpool-executor", open_deadpool)
MPIRE = Peer("mpire", "mpire", open_mpire)
JOBLIB = Peer("joblib", "joblib", open_joblib)

PEERS = (EXECUTOR, FUTURES, POOL, LOKY, PEBBLE, DEADPOOL, MPIRE, JOBLIB)
WITH_SUBMIT = PEERS[:-1]


def version(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
