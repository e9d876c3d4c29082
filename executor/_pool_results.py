"""What the methods of Pool return: AsyncResult, MapResult and the iterators of imap."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import CancelledError
from concurrent.futures.process import _RemoteTraceback
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ._exceptions import take_place
from ._waiting import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._future import Future
    from ._pool import Pool
    from ._pool_feed import Feed
    from ._pool_parent import ParentThread

__all__ = [
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapCallbacks",
    "MapResult",
    "show_as_there",
]

R = TypeVar("R")


class AsyncResult(Generic[R]):
    """The result of ``Pool.apply_async``.

    Once ``ready()``, ``wait()`` or ``get()`` has told the parent thread (the one that made the pool) that the
    result is there, its callback has been called.  Another thread is not kept waiting for callbacks.
    """

    def __init__(self, parent: ParentThread, futures: Sequence[Future[Any]], has_callback: bool) -> None:
        self._parent = parent
        self._futures = futures
        self._has_callback = has_callback

    def ready(self) -> bool:
        """Is the call done, in whatever way?"""
        if not all(future.done() for future in self._futures):
            return False
        self._run_callback()
        return True

    def successful(self) -> bool:
        """Did the call return, rather than raise?  ValueError if it is not done."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error() is None

    def wait(self, timeout: float | None = None) -> None:
        """Until the call is done, or for ``timeout`` seconds."""
        if not wait(self._futures, timeout).not_done:
            self._run_callback()

    def get(self, timeout: float | None = None) -> R:
        """The result, or the exception of the call; multiprocessing.TimeoutError after ``timeout`` seconds.

        WorkerLost if the worker was killed, CancelledError if the pool was terminated before the call began.
        """
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError
        error = self._error()
        try:
            if error is not None:
                raise error
            return self._value()
        finally:
            error = None  # its traceback refers to this frame

    def _run_callback(self) -> None:
        if self._has_callback:
            self._has_callback = not self._parent.run_callbacks()

    def _error(self) -> BaseException | None:
        """The first failure, in the order of the items."""
        errors = map(_error_of, self._futures)
        return next((error for error in errors if error is not None), None)

    def _value(self) -> R:
        return cast("R", self._futures[0].result())


ApplyResult = AsyncResult  # multiprocessing has both names


class MapResult(AsyncResult[list[R]]):
    """The result of ``Pool.map_async`` and ``starmap_async``: ready when every chunk is done."""

    def _value(self) -> list[R]:
        return list(chain.from_iterable(future.result() for future in self._futures))


class MapCallbacks:
    """Calls one of the two callbacks of a map when all its chunks are done.

    The parent thread only: the executor brings the end of each chunk there, one at a time.
    """

    def __init__(
        self,
        chunks: int,
        callback: Callable[[list[Any]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._left = chunks
        self._values: list[list[Any]] = [[]] * chunks
        self._errors: dict[int, BaseException] = {}
        self._callback = callback
        self._error_callback = error_callback

    def returned(self, chunk: int, values: list[Any]) -> None:
        self._values[chunk] = values
        self._count()

    def raised(self, chunk: int, error: BaseException) -> None:
        self._errors[chunk] = error
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if self._left:
            return
        if self._errors:
            if self._error_callback is not None:
                self._error_callback(self._errors[min(self._errors)])
        elif self._callback is not None:
            self._callback(list(chain.from_iterable(self._values)))


class IMapIterator(Generic[R]):
    """The results of ``Pool.imap``, in the order of the items."""

    def __init__(self, pool: Pool, feed: Feed, chunked: bool) -> None:
        self._pool: Pool | None = pool  # a pool lives as long as somebody reads its results
        self._feed = feed
        self._chunked = chunked
        self._chunk: Iterator[R] = iter(())  # what is left of the last chunk taken

    def __iter__(self) -> IMapIterator[R]:
        return self

    def next(self, timeout: float | None = None) -> R:
        """The next result; multiprocessing.TimeoutError after ``timeout`` seconds.

        Raises what the call raised, and goes on with the next one after that.  What the iterable raised comes
        last.
        """
        for value in self._chunk:
            return value
        outcome = self._take(timeout)
        if not self._chunked:
            return cast("R", outcome)
        self._chunk = iter(outcome)
        return next(self._chunk)

    __next__ = next

    def _take(self, timeout: float | None) -> Any:
        pool = self._pool
        if pool is None:
            raise StopIteration
        try:
            future = self._feed.take(pool._parent.bell, timeout)
        except StopIteration:
            self._pool = None
            raise
        if future is None:
            raise multiprocessing.TimeoutError
        error = _error_of(future)
        try:
            if error is not None:
                raise error
            return future.result()
        finally:
            error = None  # its traceback refers to this frame


class IMapUnorderedIterator(IMapIterator[R]):
    """The results of ``Pool.imap_unordered``, as they come."""


def _error_of(future: Future[Any]) -> BaseException | None:
    if future.cancelled():
        return CancelledError("the pool was terminated")
    error = future.exception()
    if error is not None:
        show_as_there(error)
    return error


def show_as_there(error: BaseException) -> None:
    """A program may look for multiprocessing's class of remote tracebacks."""
    if isinstance(error.__cause__, _RemoteTraceback):
        from multiprocessing import pool

        remote = pool.RemoteTraceback(error.__cause__.tb)  # type: ignore[attr-defined]
        take_place(remote, error.__cause__)
        for note in getattr(error.__cause__, "__notes__", ()):
            remote.add_note(note)
        error.__cause__ = remote
