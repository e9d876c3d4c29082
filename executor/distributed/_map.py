"""map and map_unordered: items go out some way ahead of the results that are taken."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple

from executor._exceptions import load_exception

from ._book import Book
from ._future import DaskFuture
from ._parcel import load

Arguments = tuple[Any, ...]


class Result(NamedTuple):
    """What became of one item: its value, or the error that comes in its place."""

    is_value: bool
    value: Any


class Run(NamedTuple):
    """What is submitted together: one item, or a chunk where the caller asked for chunks."""

    future: DaskFuture
    size: int
    chunked: bool

    def results(self) -> list[Result]:
        """One for each item, once the future is done."""
        try:
            error = Future.exception(self.future)
        except CancelledError as cancelled:
            error = cancelled
        if error is not None:
            return [Result(False, error)] * self.size
        value = Future.result(self.future)
        return [_opened(*outcome) for outcome in value] if self.chunked else [Result(True, value)]


def _opened(is_value: bool, parcel: bytes) -> Result:
    if not is_value:
        return Result(False, load_exception(parcel))
    try:
        return Result(True, load(parcel))
    except BaseException as error:  # whatever a rebuilding function raises: it is this item's outcome
        return Result(False, error)


class Feed:
    """Submits items ``ahead`` runs before their results are taken.  Any thread may call it."""

    def __init__(
        self,
        items: Iterator[list[Arguments]],
        submit: Callable[[list[Arguments]], Run],
        ahead: int,
        on_done: Callable[[Run], None] | None = None,
    ) -> None:
        self._items = items
        self._submit = submit
        self._ahead = ahead
        self._on_done = on_done
        self._lock = threading.RLock()  # the items may be made by code that uses this executor
        self._sent: dict[DaskFuture, Run] = {}  # guarded by _lock: in order, results not taken yet

    def fill(self, to_the_end: bool = False) -> None:
        with self._lock:
            while to_the_end or len(self._sent) < self._ahead:
                items = next(self._items, None)
                if items is None:
                    return
                self._send(items)

    def _send(self, items: list[Arguments]) -> None:
        run = self._submit(items)
        self._sent[run.future] = run
        if (on_done := self._on_done) is not None:
            run.future.add_done_callback(lambda _: on_done(run))

    def take(self, run: Run | None = None) -> Run | None:
        """This run, or the first; the next items go out in its place.  None when nothing is left."""
        with self._lock:
            if run is None:
                run = next(iter(self._sent.values()), None)
            if run is not None:
                del self._sent[run.future]
                self.fill()
        return run

    def __len__(self) -> int:
        return len(self._sent)

    def stop(self) -> list[DaskFuture]:
        """Read no more items; the futures whose results were not taken."""
        with self._lock:
            self._items = iter(())
            left = list(self._sent)
            self._sent.clear()
        return left


def ordered(book: Book, feed: Feed, timeout: float | None, return_exceptions: bool) -> Iterator[Any]:
    """The results in order.  The first error ends it, unless errors are to be returned."""
    deadline = None if timeout is None else time.monotonic() + timeout

    def results() -> Iterator[Any]:
        run: Run | None = None
        try:
            while (run := feed.take()) is not None:
                book.wait_for(run.future, None if deadline is None else max(0.0, deadline - time.monotonic()))
                for result in run.results():
                    if not (result.is_value or return_exceptions):
                        raise result.value
                    yield result.value
        finally:
            # Not at once: a generator that is thrown away ends at any moment, in any thread.
            book.cancel_later(feed.stop() + ([run.future] if run is not None else []))

    return results()


class Unordered:
    """The results as they come.  ``next`` raises the error of an item in its turn, and goes on after it."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._done: deque[Run] = deque()  # filled by whoever settles futures
        self._results: deque[Result] = deque()
        self.feed: Feed | None = None

    def note_done(self, run: Run) -> None:
        self._done.append(run)

    def __iter__(self) -> Unordered:
        return self

    def __next__(self) -> Any:
        assert self.feed is not None
        while not self._results:
            if not self.feed:
                raise StopIteration
            self._book.wait(lambda: bool(self._done), None, list)
            run = self._done.popleft()
            self.feed.take(run)
            self._results.extend(run.results())
        result = self._results.popleft()
        if result.is_value:
            return result.value
        raise result.value

    def __del__(self) -> None:
        if self.feed is not None:
            self._book.cancel_later(self.feed.stop())
