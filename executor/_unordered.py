"""`map_unordered`: results as they come, with a bounded number of items ahead of them."""

from __future__ import annotations

from functools import partial

from ._waiting import Collector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Self

    from ._executor import Submitter

__all__ = ["UnorderedResults"]

_LOOK_AHEAD = 1000


class UnorderedResults:
    """An iterator over the results. An item's error is raised in its turn, and the iteration can go on after it."""

    def __init__(
        self,
        submitter: Submitter,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        buffersize: int | None,
        bar: Any = None,
    ) -> None:
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        self._submitter = submitter
        self._fn = fn
        self._source: Iterator[Any] = zip(*iterables, strict=False)
        self._bar = bar  # a ProgressBar
        self._submit = submitter.submit if bar is None else bar.watched(submitter.submit)
        self._limit = buffersize or _LOOK_AHEAD
        self._open: set[Any] = set()
        self._collector = Collector()
        self._refill()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._open:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.finish()
            raise StopIteration
        collector = self._collector
        session = self._submitter._executor._session
        session.wait(lambda: bool(collector.done), None, lambda: collector.parked)
        future = collector.done.popleft()
        self._open.discard(future)
        self._refill()
        return future.result()

    def _refill(self) -> None:
        """Submit what may be ahead of the results fetched."""
        while len(self._open) < self._limit:
            args = next(self._source, None)
            if args is None:
                if self._bar is not None:
                    self._bar.expect_no_more()
                return
            future = self._submit(self._fn, *args)
            self._open.add(future)
            with future._condition:
                if future.done():
                    self._collector.add_result(future)
                else:
                    future._waiters.append(self._collector)

    def close(self) -> None:
        """Give up the results not fetched; what has not begun is cancelled."""
        self._source = iter(())
        while self._open:
            self._open.pop().cancel()
        if self._bar is not None:
            self._bar.close()

    def __del__(self) -> None:
        # May run at any point, with any lock held: the loop does it.
        futures = self.__dict__.get("_open")
        bar = self.__dict__.get("_bar")
        if futures or bar is not None:
            loop = self._submitter._executor._session.engine.loop
            loop.call_soon(partial(_cancel, futures or (), bar))


def _cancel(futures: Iterable[Any], bar: Any) -> None:
    for future in futures:
        future.cancel()
    if bar is not None:
        bar.close()
