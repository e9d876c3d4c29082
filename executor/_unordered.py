"""`map_unordered`: results as they come, with a bounded number of items ahead of them."""

from __future__ import annotations

from ._waiting import _Collector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ._executor import Submitter

__all__ = ["map_unordered"]

_LOOK_AHEAD = 1000


def map_unordered(
    submitter: Submitter, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], buffersize: int | None
) -> Iterator[Any]:
    """Submits at once what may be ahead; the rest as results are fetched."""
    if buffersize is not None and (not isinstance(buffersize, int) or buffersize < 1):
        raise ValueError("buffersize must be None or an integer > 0")
    source = zip(*iterables)
    collector = _Collector()
    open_futures: set[Any] = set()
    limit = buffersize or _LOOK_AHEAD

    def refill() -> None:
        while len(open_futures) < limit:
            args = next(source, None)
            if args is None:
                return
            future = submitter.submit(fn, *args)
            open_futures.add(future)
            with future._condition:
                if future.done():
                    collector.add_result(future)
                else:
                    future._waiters.append(collector)

    refill()
    return _fetch(submitter, collector, open_futures, refill)


def _fetch(
    submitter: Submitter, collector: _Collector, open_futures: set[Any], refill: Callable[[], None]
) -> Iterator[Any]:
    session = submitter._executor._session
    try:
        while open_futures:
            session.wait(lambda: bool(collector.done), None, lambda: collector.parked)
            future = collector.done.popleft()
            open_futures.discard(future)
            refill()
            yield future.result()
            del future
    finally:
        for future in open_futures:
            future.cancel()
