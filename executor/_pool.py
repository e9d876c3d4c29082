"""Pool: the face of multiprocessing.Pool over one executor.

Pool ▸ ProcessPoolExecutor.submit            apply, map: AsyncResult, MapResult over futures
Pool ▸ Feed ▸ ProcessPoolExecutor.submit     imap: IMapIterator over a feed
"""

from __future__ import annotations

import enum
import os
import threading
import warnings
import weakref
from functools import partial
from itertools import islice, starmap
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._executor import ProcessPoolExecutor
from ._pool_encoding import encode_result
from ._pool_feed import Feed, Feeds, LookAhead
from ._pool_parent import ParentThread
from ._pool_results import (
    AsyncResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapCallbacks,
    MapResult,
    show_as_there,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from multiprocessing.context import BaseContext
    from types import TracebackType
    from typing import Literal, Self

__all__ = ["Pool"]

R = TypeVar("R")

# A collection is in memory already: imap works through so much of it in the background, as there.
_HELD_OF_A_COLLECTION = 10_000


class PoolState(enum.StrEnum):
    """INIT → RUN → CLOSE → TERMINATE, or from RUN to TERMINATE at once.

    CLOSE: takes no new work, finishes what it has.  The values are those of multiprocessing.
    """

    INIT = "INIT"
    RUN = "RUN"
    CLOSE = "CLOSE"
    TERMINATE = "TERMINATE"


class Pool:
    """The face of ``multiprocessing.Pool`` over a ``ProcessPoolExecutor``.

    As there: the methods and their arguments, the chunks, ``maxtasksperchild`` counting chunks, ``with`` that
    ends in ``terminate()``.  Otherwise than there:

    - A worker that is killed costs the call, or the chunk, that it ran: ``get()`` raises WorkerLost.
    - Arguments may be lambdas and closures.  Results are pickled as there: by name, but for what a REPL or notebook
      defines; MaybeEncodingError for what cannot be pickled.
    - ``get()`` of a call that was not done at ``terminate()`` raises CancelledError or WorkerLost.
    - Callbacks run on the thread that made the pool, while it waits in this package (``get``, ``wait``,
      ``ready``, ``join``, the iterators of ``imap``), not in a hidden thread.  One that raises is logged.
    - ``imap`` reads its iterable a bounded way ahead of the results that were taken, until ``join()``.
    - Workers start when there is work for them.
    - What workers log reaches this process's handlers, as with ``ProcessPoolExecutor(forward_logging=)``.
    """

    _state = PoolState.INIT  # for __del__, if __init__ raises

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | str | None = None,
        *,
        forward_logging: bool | Literal["always"] = True,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and not (isinstance(maxtasksperchild, int) and maxtasksperchild > 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._executor = ProcessPoolExecutor(
            processes,
            context,
            initializer,
            tuple(initargs),
            max_tasks_per_child=maxtasksperchild,
            forward_logging=forward_logging,
        )
        session = self._executor._session
        by_value = "main" if session.main_by_value else "none"
        session.engine.settings.encode_result = partial(encode_result, by_value)
        self._processes: int = self._executor._max_workers
        self._parent = ParentThread(self._executor)
        self._feeds = Feeds(self._executor)
        self._pid = os.getpid()
        self._state = PoolState.RUN
        _terminate_at_exit(self)

    # --- one call -------------------------------------------------------------------------------------------

    def apply(self, func: Callable[..., R], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None) -> R:
        """``func(*args, **kwds)`` in a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]:
        """The same, as an AsyncResult.  One of the callbacks is called with the result or the exception."""
        self._check_running()
        arguments = kwds or {}
        if not (callback or error_callback):
            future = self._executor.submit(func, *args, **arguments)
            return AsyncResult(self._parent, [future], has_callback=False)
        options = self._executor.options(
            callback=self._brought(callback), error_callback=self._brought_error(error_callback)
        )
        return AsyncResult(self._parent, [options.submit(func, *args, **arguments)], has_callback=True)

    # --- many calls, all at once ----------------------------------------------------------------------------

    def map(self, func: Callable[[Any], R], iterable: Iterable[Any], chunksize: int | None = None) -> list[R]:
        """``[func(item) for item in iterable]`` in chunks; without ``chunksize``, four for each process."""
        return self._map_async(_Map(func), iterable, chunksize).get()

    def map_async(
        self,
        func: Callable[[Any], R],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[R]:
        """The same, as a MapResult.  One of the callbacks is called when every chunk is done."""
        return self._map_async(_Map(func), iterable, chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., R], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[R]:
        """``[func(*arguments) for arguments in iterable]``, else as ``map``."""
        return self._map_async(_StarMap(func), iterable, chunksize).get()

    def starmap_async(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[R]:
        """``starmap`` as a MapResult, else as ``map_async``."""
        return self._map_async(_StarMap(func), iterable, chunksize, callback, error_callback)

    def _map_async(
        self,
        call: _Map[R],
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[R]:
        self._check_running()
        items = list(iterable)
        if chunksize is None:
            chunksize = -(-len(items) // (self._processes * 4)) or 1
        chunks = list(_chunks(items, chunksize))
        if not (callback or error_callback):
            futures = [self._executor.submit(call, chunk) for chunk in chunks]
            return MapResult(self._parent, futures, has_callback=False)
        # A callback is called once for an empty map too: by an empty chunk.
        chunks = chunks or [()]
        callbacks = MapCallbacks(len(chunks), callback, error_callback)
        futures = []
        for index, chunk in enumerate(chunks):
            options = self._executor.options(
                callback=self._brought(partial(callbacks.returned, index)),
                error_callback=self._brought_error(partial(callbacks.raised, index)),
            )
            futures.append(options.submit(call, chunk))
        return MapResult(self._parent, futures, has_callback=True)

    # --- many calls, item by item ---------------------------------------------------------------------------

    def imap(self, func: Callable[[Any], R], iterable: Iterable[Any], chunksize: int = 1) -> IMapIterator[R]:
        """An iterator of ``func(item)`` for each item, in order.

        The iterable is read in another thread, as there; but only a bounded way ahead of the results taken:
        few items while calls take long, never more than 512 (chunks, if any) for each process; 10,000 items
        of a collection, which is in memory already.  ``join()`` reads it to its end.  What it raises comes
        after the results of the items before.
        """
        feed, chunked = self._feed(func, iterable, chunksize, ordered=True)
        return IMapIterator(self, feed, chunked)

    def imap_unordered(
        self, func: Callable[[Any], R], iterable: Iterable[Any], chunksize: int = 1
    ) -> IMapUnorderedIterator[R]:
        """The same in the order in which the calls, or chunks of calls, are done."""
        feed, chunked = self._feed(func, iterable, chunksize, ordered=False)
        return IMapUnorderedIterator(self, feed, chunked)

    def _feed(
        self, func: Callable[[Any], R], iterable: Iterable[Any], chunksize: int, *, ordered: bool
    ) -> tuple[Feed, bool]:
        self._check_running()
        chunked = chunksize != 1
        if chunked:
            items: Iterator[Any] = _chunks(iterable, chunksize)
            submit: Callable[[Any], Any] = partial(self._executor.submit, _Map(func))
        else:
            items = iter(iterable)
            submit = partial(self._executor.submit, func)
        held = _HELD_OF_A_COLLECTION // chunksize if hasattr(iterable, "__len__") else 0
        feed = Feed(submit, items, LookAhead(self._processes, held), ordered=ordered)
        self._feeds.start(feed)
        return feed, chunked

    # --- the end --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no new work; the workers go when they have finished what there is."""
        if self._state is PoolState.RUN:
            self._state = PoolState.CLOSE
            self._feeds.close()

    def terminate(self) -> None:
        """Stop at once: calls that run are killed, calls that wait are cancelled, no worker is left."""
        self._state = PoolState.TERMINATE
        feeds = self._feeds.running()
        for feed in feeds:
            feed.stop()
        self._executor.terminate_workers()
        self._executor.shutdown(wait=True)
        for feed in feeds:
            feed.join_stopped()

    def join(self) -> None:
        """After ``close()`` or ``terminate()``: until work and callbacks are done and workers are gone."""
        if self._state is PoolState.RUN:
            raise ValueError("Pool is still running")
        if self._state is PoolState.CLOSE:
            for feed in self._feeds.running():
                feed.finish(self._parent.bell)
        self._executor.shutdown(wait=True)

    def _brought(self, callback: Callable[[Any], object] | None) -> Callable[[Any], object] | None:
        """As the executor is to bring it to the parent thread."""
        return partial(self._parent.call, callback) if callback else None

    def _brought_error(self, callback: Callable[[Any], object] | None) -> Callable[[Any], object] | None:
        return partial(self._parent.call, partial(_call_as_there, callback)) if callback else None

    def _check_running(self) -> None:
        if self._state is not PoolState.RUN:
            raise ValueError("Pool not running")

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    def __del__(self, _warn: Callable[..., None] = warnings.warn, _getpid: Callable[[], int] = os.getpid) -> None:
        if self._state == PoolState.INIT or self._pid != _getpid():
            return
        if self._state == PoolState.RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
        # The executor finishes what was submitted, and its workers go with it.
        for feed in self._feeds.running():
            feed.stop()

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        cls = type(self)
        return f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={self._processes}>"


def _chunks(iterable: Iterable[R], size: int) -> Iterator[tuple[R, ...]]:
    if size < 1:
        raise ValueError(f"Chunksize must be 1+, not {size}")
    iterator = iter(iterable)
    return iter(lambda: tuple(islice(iterator, size)), ())


def _call_as_there(callback: Callable[[BaseException], object], error: BaseException) -> None:
    show_as_there(error)
    callback(error)


class _Map(Generic[R]):
    """Calls ``func`` for each item of a chunk, in a worker."""

    def __init__(self, func: Callable[..., R]) -> None:
        self.func = func  # the name of functools.partial: errors and statistics name the function by it

    def __call__(self, chunk: tuple[Any, ...]) -> list[R]:
        return list(map(self.func, chunk))


class _StarMap(_Map[R]):
    """Calls ``func`` with the arguments that each item of a chunk holds."""

    def __call__(self, chunk: tuple[Any, ...]) -> list[R]:
        return list(starmap(self.func, chunk))


# At the end of the interpreter pools are terminated, as in multiprocessing; executors finish their work.

_alive: weakref.WeakSet[Pool] = weakref.WeakSet()
_registered = False


def _terminate_at_exit(pool: Pool) -> None:
    global _registered
    _alive.add(pool)
    if not _registered:
        _registered = True
        # atexit is too late, threads are joined before.  The last hook is called first: this one before that
        # of the executor, which was there before.
        threading._register_atexit(_terminate_all)  # type: ignore[attr-defined]


def _terminate_all() -> None:
    for pool in list(_alive):
        if pool._pid == os.getpid():  # else this is a forked child
            pool.terminate()
