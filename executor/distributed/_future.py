"""What a caller holds for one call, and the record that the book keeps of it: they are one object."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from concurrent.futures._base import PENDING, RUNNING
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from executor._current import function_name
from executor._errors import Attempt, WorkerLost
from executor._options import Options

from ._parcel import Hole

if TYPE_CHECKING:
    from ._book import Book


@dataclass(frozen=True, slots=True)
class Call:
    """What is to run.  Futures among the top-level arguments are dependencies."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def dependencies(self) -> Iterator[DaskFuture]:
        for value in (*self.args, *self.kwargs.values()):
            if isinstance(value, DaskFuture):
                yield value

    def filled(self, there: list[DaskFuture]) -> tuple[Any, ...]:
        """As it travels: results in place of futures, and holes for those that Dask holds."""

        def fill(value: Any) -> Any:
            if not isinstance(value, DaskFuture):
                return value
            return Hole(there.index(value)) if value in there else concurrent.futures.Future.result(value)

        return (
            self.fn,
            tuple(map(fill, self.args)),
            {name: fill(value) for name, value in self.kwargs.items()},
        )


class DaskFuture(concurrent.futures.Future[Any]):
    """A ``concurrent.futures.Future`` whose call is with a Dask cluster."""

    def __init__(self, book: Book, call: Call, options: Options) -> None:
        super().__init__()
        self.book = book
        self.name = options.name or function_name(call.fn)
        self.options = options
        self.call: Call | None = call  # guarded by the book's lock; None once it is settled
        self.key = ""  # guarded by the book's lock: Dask's name for it, a new one each time it is sent
        self.remote: Any = None  # guarded by the book's lock: Dask's own future, None while it is not there
        self.withdrawn = False  # guarded by the book's lock: being cancelled, so it is not sent again
        self.begun: list[tuple[str, int]] = []  # Dask's event loop: worker and pid of each attempt

    def cancel(self) -> bool:
        """Cancel the call unless it has begun.  The scheduler is asked, so after True it never runs."""
        if not self.done():
            self.book.cancel([self])
        return self.cancelled()

    def result(self, timeout: float | None = None) -> Any:
        """The value, or the call's exception.  Callbacks that wait for this thread run meanwhile."""
        self.book.wait_for(self, timeout)
        return super().result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The call's exception or None.  Callbacks that wait for this thread run meanwhile."""
        self.book.wait_for(self, timeout)
        return super().exception()

    def then(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> DaskFuture:
        """Submit ``fn(result, *args, **kwargs)``, to run once this one is done."""
        return self.book.submit(Call(fn, (self, *args), kwargs), self.book.defaults)

    @property
    def session(self) -> Book:
        """Where this package's ``wait`` and ``as_completed`` wait."""
        return self.book

    # --- for the book ---------------------------------------------------------------------------------------

    @property
    def attempts_left(self) -> int:
        return self.options.retries + 1 - len(self.begun)

    def lost(self) -> WorkerLost:
        """The error for one whose last attempt was lost."""
        worker, pid = self.begun[-1] if self.begun else ("", 0)
        return WorkerLost(
            worker=worker,
            pid=pid,
            task=self.name,
            attempts=tuple(Attempt(pid, f"lost with worker {worker}") for worker, pid in self.begun),
            reason="was lost by the cluster",
        )

    def mark_running(self) -> None:
        with self._condition:
            if self._state == PENDING:
                self._state = RUNNING

    def mark_cancelled(self) -> None:
        if super().cancel():
            self.set_running_or_notify_cancel()  # or wait() would never wake
