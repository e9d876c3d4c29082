"""DaskExecutor: the contract, nothing else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, cast

from executor._asyncio import amap
from executor._current import function_name
from executor._options import Options
from executor._stats import Stats

from ._book import Book
from ._future import Call, DaskFuture
from ._map import Arguments, Feed, Run, Unordered, ordered
from ._refusals import REFUSED_ARGUMENTS, refuse_argument, refuse_method
from ._remote import run_chunk

_LEAST_AHEAD = 1000  # runs that map sends ahead without buffersize
_AHEAD_PER_THREAD = 8

_books: weakref.WeakSet[Book] = weakref.WeakSet()


class _Submitter:
    """submit and map with certain options: what an executor is, and what its ``options()`` returns."""

    _book: Book
    _options: Options
    _feeds: weakref.WeakSet[Feed]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> DaskFuture:
        """Run ``fn(*args, **kwargs)`` on the cluster.  Futures among the arguments stand for their results.

        A call that cannot be pickled fails its own future. Any thread. Raises RuntimeError after shutdown,
        BrokenProcessPool once the scheduler is gone.
        """
        if not callable(fn):
            raise TypeError(f"submit() needs a callable, not {type(fn).__name__}")
        return self._book.submit(Call(fn, args, kwargs), self._options)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """An iterator over ``fn`` of each item, in order, as in ``concurrent.futures``.

        ``timeout`` in seconds, for the whole. A chunk (``chunksize``) is one task of the cluster: its items
        have their own results and errors, but a lost worker costs the whole of it.
        """
        _check_map(chunksize, buffersize)
        feed = self._feed(fn, iterables, chunksize, buffersize, None)
        return ordered(self._book, feed, timeout, return_exceptions)

    def map_unordered(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], buffersize: int | None = None
    ) -> Iterator[Any]:
        """The results as they come.  An error is raised in its turn, and iteration may go on after it."""
        _check_map(1, buffersize)
        results = Unordered(self._book)
        results.feed = self._feed(fn, iterables, 1, buffersize, results.note_done)
        return results

    def amap(self, fn: Callable[..., Any], *iterables: Any, buffersize: int | None = None) -> AsyncIterator[Any]:
        """``async for`` over the results in order, ``buffersize`` items ahead (default: 2 a thread)."""
        return amap(cast(Any, self), fn, iterables, buffersize, self._book.threads())

    def options(self, **options: Any) -> _Submitter:
        """The same executor's submit and map with other options.

        They are ``retries`` (runs after the first whose worker was lost), ``priority`` (higher first),
        ``callback`` and ``error_callback`` (called with the result or the exception, on the thread that made
        the executor) and ``name``. Any other of ProcessPoolExecutor's raises NotSupportedByEngine.
        """
        return _WithOptions(self, _changed(self._options, options))

    def _feed(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: int,
        buffersize: int | None,
        on_done: Callable[[Run], None] | None,
    ) -> Feed:
        items = zip(*iterables, strict=False)
        chunks = iter(lambda: list(itertools.islice(items, chunksize)), [])
        submit = self._submit_item if chunksize == 1 else self._submit_chunk
        ahead = buffersize or max(_LEAST_AHEAD, _AHEAD_PER_THREAD * self._book.threads())
        feed = Feed(chunks, lambda chunk: submit(fn, chunk), ahead, on_done)
        feed.fill()
        if buffersize is None:
            self._feeds.add(feed)
        return feed

    def _submit_item(self, fn: Callable[..., Any], items: list[Arguments]) -> Run:
        return Run(self.submit(fn, *items[0]), 1, chunked=False)

    def _submit_chunk(self, fn: Callable[..., Any], items: list[Arguments]) -> Run:
        """A run whose callbacks are called for each item."""
        options = self._book.dispatcher.bound(self._options)
        plain = options.changed({"callback": None, "error_callback": None, "name": options.name or function_name(fn)})
        run = Run(self._book.submit(Call(run_chunk, (fn, items), {}), plain), len(items), chunked=True)
        if options.callback is not None or options.error_callback is not None:
            run.future.add_done_callback(lambda _: _post_results(self._book, options, run))
        return run


class _WithOptions(_Submitter):
    def __init__(self, of: _Submitter, options: Options) -> None:
        self._of = of  # an executor that is still used must not be collected
        self._book = of._book
        self._feeds = of._feeds
        self._options = options


class DaskExecutor(_Submitter, concurrent.futures.Executor):
    """ProcessPoolExecutor's face on a Dask cluster.

    ``address_or_client`` is a scheduler's address, a Dask cluster object, or a synchronous
    ``distributed.Client`` (which stays open afterwards); without it Dask decides: the scheduler of its
    configuration, or else a cluster on this machine for as long as the executor lives. ``security`` is a
    ``distributed.Security`` for a connection made here. ``defaults`` are those of ``options()``.

    What the cluster cannot promise raises NotSupportedByEngine where it is asked for. The scheduler and the
    workers need executor-pool[dask] installed.
    """

    def __init__(self, address_or_client: Any = None, *, security: Any = None, **defaults: Any) -> None:
        if "task_retries" in defaults:  # ProcessPoolExecutor's name for the default of retries
            defaults["retries"] = defaults.pop("task_retries")
        self._options = _changed(Options(), defaults)
        self._feeds = weakref.WeakSet()
        self._book = Book(address_or_client, security, self._options)
        _books.add(self._book)
        # An executor that is dropped finishes its work, as the standard one does.
        weakref.finalize(self, self._book.end_later).atexit = False

    @property
    def _max_workers(self) -> int:
        """Libraries read this."""
        return self._book.threads()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; the cluster goes on.  ``wait`` until all is done and every callback has run.

        ``cancel_futures`` cancels what has not begun. Any thread, more than once.
        """
        if not self._book.is_of_this_process:
            return
        for feed in list(self._feeds):
            # The standard map has read its items by now; those of ours that are left are read here.
            self._book.cancel_later(feed.stop()) if cancel_futures else feed.fill(to_the_end=True)
        self._book.refuse_more()
        if cancel_futures:
            self._book.cancel(self._book.open_futures())
        self._book.end()
        if wait:
            self._book.wait_ended()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._book.abandon()
        else:
            self.shutdown(wait=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        # Its callbacks are called by the loop, which goes on meanwhile.
        await asyncio.get_running_loop().run_in_executor(None, self.shutdown)
        self.run_callbacks()

    def stats(self) -> Stats:
        """A snapshot: what this executor has counted, and one row for each worker of the cluster.

        Asks the scheduler, so it raises OSError when that cannot be reached. Any thread.
        """
        return self._book.stats()

    def run_callbacks(self, timeout: float | None = 0) -> int:
        """Run the callbacks that wait, waiting up to ``timeout`` seconds for a first one; how many ran.

        On the thread that made the executor; 0 on any other.
        """
        dispatcher = self._book.dispatcher
        return dispatcher.wait(timeout) if dispatcher.is_current() else 0

    def fileno(self) -> int:
        """A descriptor that is readable while callbacks wait, for selectors and GUI loops."""
        return self._book.dispatcher.fileno()

    def terminate_workers(self) -> None:
        raise refuse_method("terminate_workers")

    def kill_workers(self) -> None:
        raise refuse_method("kill_workers")

    def worker_stacks(self) -> Mapping[Any, str]:
        raise refuse_method("worker_stacks")

    def broadcast(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        raise refuse_method("broadcast")

    def metrics(self) -> str:
        raise refuse_method("metrics")


def _changed(options: Options, changes: Mapping[str, Any]) -> Options:
    """TypeError, ValueError or NotSupportedByEngine for what cannot be."""
    for name, value in changes.items():
        refuse_argument(name, value)
    return options.changed({name: value for name, value in changes.items() if name not in REFUSED_ARGUMENTS})


def _check_map(chunksize: int, buffersize: int | None) -> None:
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")


def _post_results(book: Book, options: Options, run: Run) -> None:
    for result in run.results():
        book.dispatcher.post(options, result.is_value, result.value)
    book.dispatcher.wake()


def _finish_everything() -> None:
    """At the end of the program: pending work is finished, as with the standard pool."""
    books = [book for book in _books if book.is_of_this_process and not book.abandoned]
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    for book in books:
        book.abandon() if interrupted else book.end()
    if interrupted:
        return
    for book in books:
        book.wait_ended()


# Before threads are joined and Dask's own threads stop; atexit would be too late.
threading._register_atexit(_finish_everything)  # type: ignore[attr-defined]
