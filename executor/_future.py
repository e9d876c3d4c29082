"""The future of one call: a `concurrent.futures.Future` that is small and cheap until somebody waits.

The standard class makes a Condition for each future: nine tenths of its memory and most of its time. Here all
futures of a manager share its lock, so that a batch of outcomes is settled under one acquisition; the Condition
over that lock is made when somebody asks for it, as the standard ``wait`` and ``as_completed`` do.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, InvalidStateError
from concurrent.futures import Future as StandardFuture
from concurrent.futures import _base as _standard
from time import monotonic

from ._call_run import join_calls
from ._current import function_name
from ._errors import Attempt
from ._interrupt import reaches_here
from ._loop import Parked
from ._options import Options
from ._pickling import encode_call
from ._policy import Estimates
from ._task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._session import Session

    T = TypeVar("T")
    U = TypeVar("U")

__all__ = ["Future"]

PENDING = _standard.PENDING
RUNNING = _standard.RUNNING
CANCELLED = _standard.CANCELLED
CANCELLED_AND_NOTIFIED = _standard.CANCELLED_AND_NOTIFIED
FINISHED = _standard.FINISHED
_DONE = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))
_NO_ATTEMPTS: tuple[Attempt, ...] = ()
_DEFAULTS = Options()
_detached_lock = threading.RLock()  # of futures that no executor made


class Future(Task, StandardFuture["T"]):
    """The result of a call, now or later. All methods may be called from any thread."""

    __slots__ = (
        "_call",
        "_callbacks",
        "_cond",
        "_exception",
        "_progress",
        "_result",
        "_state",
        "_waiter_list",
        "attempts",
        "lease",
        "options",
        "session",
        "traced",
    )

    if TYPE_CHECKING:
        _state: str
        _call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None
        session: Any  # a Session; None where no executor made the future
        _progress: tuple[float, float | None]  # not set before the task reports
        lease: Any  # (Worker, lease number) while it is leased. Guarded by the manager's lock

    def __init__(self, session: Session | None = None, call: Any = None, options: Options = _DEFAULTS) -> None:
        # Not super().__init__(): it would make the Condition.
        self._state = PENDING
        self._result = None
        self._exception: BaseException | None = None
        self._cond: threading.Condition | None = None
        self._waiter_list: list[Any] | None = None
        self._callbacks: list[Callable[[Any], object]] | None = None
        self._call = call
        self.session = session
        self.options = options
        self.attempts = _NO_ATTEMPTS
        self.lease = None
        self.traced: Any = None

    # --- what the standard class's own code looks at --------------------------------------------------------

    @property
    def _lock(self) -> Any:
        return self.session.lock if self.session is not None else _detached_lock

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        if self._cond is None:
            with self._lock:
                if self._cond is None:
                    self._cond = threading.Condition(self._lock)
        return self._cond

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        if self._waiter_list is None:
            with self._lock:
                if self._waiter_list is None:
                    self._waiter_list = []
        return self._waiter_list

    @property
    def _done_callbacks(self) -> list[Callable[[Any], object]]:
        if self._callbacks is None:
            self._callbacks = []
        return self._callbacks

    # --- the public face ------------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel the call if it has not begun; with ``cancel_running`` also while it runs. True if it worked.

        For a call that is with a worker but has not begun this takes about a millisecond.
        """
        if self._state == FINISHED:
            return False
        return self.session.cancel(self) if self.session is not None else super().cancel()

    def running(self) -> bool:
        """Whether the call runs at this moment."""
        if self._state == PENDING and self.lease is not None:
            self.session.note_running(self)
        return self._state == RUNNING

    def __repr__(self) -> str:
        self.running()  # the state is looked up when asked for
        return super().__repr__()

    def done(self) -> bool:
        """Whether the call has ended or was cancelled."""
        return self._state in _DONE

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call ``fn(future)`` once when this is done, in some thread of this process; at once if it is done."""
        if self._state not in _DONE:
            with self._lock:
                if self._state not in _DONE:
                    self._done_callbacks.append(fn)
                    return
        self._call_back(fn)

    def result(self, timeout: float | None = None) -> T:
        """What the call returned, waiting at most ``timeout`` seconds (None: for ever).

        Raises what the call raised; TimeoutError; CancelledError; WorkerLost and its kin.
        """
        if self._state not in _DONE:
            self._wait(timeout)
        elif self.options.calls_back:
            self.session.run_due_callbacks()
        if self._state != FINISHED:
            raise CancelledError()
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # no cycle through the traceback
        return self._result  # type: ignore[return-value]  # set, as it is done

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, None if it returned. Waits and raises as `result` does."""
        if self._state not in _DONE:
            self._wait(timeout)
        elif self.options.calls_back:
            self.session.run_due_callbacks()
        if self._state != FINISHED:
            raise CancelledError()
        return self._exception

    @property
    def progress(self) -> tuple[float, float | None] | None:
        """What the task has last told with `report_progress`: (done, total); None before it has."""
        try:
            return self._progress
        except AttributeError:
            return None

    def then(self, fn: Callable[..., U], /, *args: Any, **kwargs: Any) -> Future[U]:
        """Submit ``fn(result, *args, **kwargs)`` to the same executor, to run when this has its result."""
        return self.session.submit(fn, (self, *args), kwargs, self.session.options)  # type: ignore[no-any-return]  # of Any

    def _wait(self, timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic() + timeout
        if self.session is not None:
            self.session.wait(self._is_done, deadline, self._waiters_for_wait, self)
        else:
            with self._condition:
                self._cond.wait_for(self._is_done, timeout)  # type: ignore[union-attr]
        if self._state not in _DONE:
            raise TimeoutError()

    def _waiters_for_wait(self) -> list[Any]:
        return self._waiters

    def _is_done(self) -> bool:
        return self._state in _DONE

    # --- settling -------------------------------------------------------------------------------------------

    def set_running_or_notify_cancel(self) -> bool:
        with self._lock:
            if self._state == CANCELLED:
                self._settle(CANCELLED_AND_NOTIFIED)
                return False
            if self._state == PENDING:
                self._state = RUNNING
                return True
        raise RuntimeError("Future in unexpected state")

    def set_result(self, result: T) -> None:
        with self._lock:
            if self._state in _DONE:
                raise InvalidStateError(f"{self._state}: {self!r}")
            self._result = result
            self._settle(FINISHED)
        self.after()

    def set_exception(self, exception: BaseException | None) -> None:
        with self._lock:
            if self._state in _DONE:
                raise InvalidStateError(f"{self._state}: {self!r}")
            self._exception = exception
            self._settle(FINISHED)
        self.after()

    def _settle(self, state: str) -> None:
        """The one place where a future becomes done. With the lock held."""
        if self.options.calls_back:
            self.session.queue_callback_of(self, cancelled=state != FINISHED)  # before anybody sees it done
        self._state = state
        self._call = None
        self.lease = None
        if self._waiter_list:
            for waiter in self._waiter_list:
                if type(waiter) is Parked:
                    self.session.engine.loop.note_woken()
                if state != FINISHED:
                    waiter.add_cancelled(self)
                elif self._exception is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
        if self._cond is not None:
            self._cond.notify_all()

    def _invoke_callbacks(self) -> None:
        self.after()

    def _call_back(self, fn: Callable[[Any], object]) -> None:
        try:
            fn(self)
        except BaseException as error:
            if reaches_here(error):
                raise
            _standard.LOGGER.exception("exception calling callback for %r", self)

    # --- Task -----------------------------------------------------------------------------------------------

    def name(self) -> str:
        named_by = self.named_by()
        return named_by if isinstance(named_by, str) else function_name(named_by)

    def named_by(self) -> Any:
        if self.options.name is not None:
            return self.options.name
        return self._call[0] if self._call is not None else ""

    def estimate_key(self) -> Any:
        assert self._call is not None
        return Estimates.key(self._call[0])

    def joined(self, queue: deque[Task], most: int) -> Task:
        return join_calls(self, queue, most)

    def start(self) -> bool:
        return self._state == PENDING

    def encode(self, lease: int) -> tuple[tuple[Any, ...], list[int]]:
        call = self._call
        if call is None:  # cancelled while it was leased
            call = _nothing, (), {}
        payload, fds = encode_call(call, main_by_value=self.session.main_by_value)
        size = None if fds is None else len(fds)
        if self.options.name is not None or self.attempts:
            return (lease, payload, size, self.name(), len(self.attempts) + 1), fds or []
        return (lease, payload) if size is None else (lease, payload, size), fds or []

    def note_unpicklable(self, error: BaseException) -> None:
        from ._unpicklable import note_argument

        call = self._call
        if call is not None:
            note_argument(error, call)

    def note_progress(self, item: int, done: float, total: float | None) -> None:
        self._progress = done, total
        for bar in self.session.bars:
            bar.note_future(self, done, total)

    def outcome(self, item: int, value: Any, error: BaseException | None) -> bool | None:
        if self._state in _DONE:
            return None
        self._result = value
        self._exception = error
        self._settle(FINISHED)
        return True

    def fail(self, error: BaseException) -> None:
        if self._state not in _DONE:
            self._exception = error
            self._settle(FINISHED)

    def mark_cancelled(self) -> None:
        if self._state not in _DONE:
            self._settle(CANCELLED_AND_NOTIFIED)

    def is_open(self) -> bool:
        return self._state not in _DONE

    def has_callbacks(self) -> bool:
        return bool(self._callbacks)

    def after(self) -> None:
        while self._callbacks:
            self._call_back(self._callbacks.pop(0))


def _nothing() -> None:
    """Runs in place of a call that was cancelled when it could no longer be held back."""
