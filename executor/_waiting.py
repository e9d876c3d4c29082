"""`wait` and `as_completed`: the standard ones, but that the waiting thread leads the loop and runs callbacks.

They take futures of any executor: where none is of this package, the standard functions do the work.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from concurrent.futures import _base as _standard
from time import monotonic

from ._loop import Parked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future as StandardFuture
    from typing import Any, Generic, NamedTuple, TypeVar

    from ._loop import Loop

    F = TypeVar("F", bound=StandardFuture[Any])

    class DoneAndNotDone(NamedTuple, Generic[F]):
        """The standard named tuple; the standard library's own type does not keep the class of the futures."""

        done: set[F]
        not_done: set[F]


__all__ = ["Collector", "as_completed", "wait"]


class Collector:
    """A waiter in the sense of concurrent.futures that gathers what is done, and wakes one thread."""

    __slots__ = ("done", "failed", "parked")

    def __init__(self) -> None:
        self.done: deque[Any] = deque()
        self.failed = False
        self.parked: list[Parked | Loop] = []

    def add_result(self, future: Any) -> None:
        self.done.append(future)
        self._wake()

    add_cancelled = add_result

    def add_exception(self, future: Any) -> None:
        self.failed = True
        self.add_result(future)

    def _wake(self) -> None:
        for parked in tuple(self.parked):
            parked.wake()


def _subscribe(futures: set[Any], collector: Collector) -> set[Any]:
    """Add the collector to those that are not done; returns those that are."""
    done = set()
    for future in futures:
        with future._condition:
            if future._state in (_standard.CANCELLED_AND_NOTIFIED, _standard.FINISHED):
                done.add(future)
            else:
                future._waiters.append(collector)
    return done


def _unsubscribe(futures: Iterable[Any], collector: Collector) -> None:
    for future in futures:
        with future._condition:
            try:
                future._waiters.remove(collector)
            except ValueError:
                pass


def _session_of(futures: Iterable[Any], collector: Collector) -> Any:
    """A session whose loop the waiting thread may lead; None if some of the futures are not of this package.

    Where they are of several engines, the others' loops wake it.
    """
    session = None
    for future in futures:
        last = getattr(future, "session", None)  # ours, and those of `executor.distributed`
        if last is None:
            return None
        if session is not None and last.engine is not session.engine and not collector.parked:
            loop = getattr(session.engine, "loop", None)
            if loop is None:
                return None
            collector.parked.append(loop)
        session = session or last
    return session


def wait(fs: Iterable[F], timeout: float | None = None, return_when: str = ALL_COMPLETED) -> DoneAndNotDone[F]:
    """Wait for futures as `concurrent.futures.wait` does; gives the named tuple (done, not_done) of sets.

    ``timeout`` is in seconds. Callbacks of the calling thread run meanwhile.
    """
    futures = set(fs)
    collector = Collector()
    session = _session_of(futures, collector)
    if session is None:
        return _standard.wait(futures, timeout, return_when)  # type: ignore[return-value]  # see DoneAndNotDone
    deadline = None if timeout is None else monotonic() + timeout
    done = _subscribe(futures, collector)
    not_done = futures - done
    if return_when == FIRST_COMPLETED:
        needed = 1 if not done else 0
    elif return_when in (FIRST_EXCEPTION, ALL_COMPLETED):
        needed = len(not_done)
        if return_when == FIRST_EXCEPTION and any(_has_failed(future) for future in done):
            needed = 0
    else:
        _unsubscribe(not_done, collector)
        raise ValueError(f"Invalid return condition: {return_when!r}")
    first_exception = return_when == FIRST_EXCEPTION

    def ready() -> bool:
        return len(collector.done) >= needed or (first_exception and collector.failed)

    try:
        session.wait(ready, deadline, lambda: collector.parked)
    finally:
        _unsubscribe(not_done, collector)
    done.update(collector.done)
    return _standard.DoneAndNotDoneFutures(done, futures - done)  # type: ignore[return-value, arg-type]  # the same


def _has_failed(future: Any) -> bool:
    return not future.cancelled() and future.exception() is not None


def as_completed(fs: Iterable[F], timeout: float | None = None) -> Iterator[F]:
    """Yield futures as they are done, as `concurrent.futures.as_completed` does; ``timeout`` in seconds.

    Callbacks of the calling thread run while it waits.
    """
    futures = set(fs)
    collector = Collector()
    session = _session_of(futures, collector)
    if session is None:
        yield from _standard.as_completed(futures, timeout)  # type: ignore[misc]  # the same
        return
    total = len(futures)
    deadline = None if timeout is None else monotonic() + timeout
    done = _subscribe(futures, collector)
    pending = futures - done
    try:
        while done:
            futures.discard(future := done.pop())
            _run_callback_of(future, session)
            yield future
            del future
        while pending:
            if not session.wait(lambda: bool(collector.done), deadline, lambda: collector.parked):
                raise TimeoutError(f"{len(pending)} (of {total}) futures unfinished")
            while collector.done:
                future = collector.done.popleft()
                pending.discard(future)
                futures.discard(future)
                _run_callback_of(future, session)
                yield future
                del future
    finally:
        _unsubscribe(pending, collector)


def _run_callback_of(future: Any, session: Any) -> None:
    """It is due by now, whether or not this thread had to wait for the future."""
    if future.options.calls_back:
        session.wait(lambda: True, None, list)
