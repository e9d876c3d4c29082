"""An executor's account with an engine: its tasks, its options, its callbacks. Several may share one engine."""

from __future__ import annotations

from ._dispatcher import Dispatcher, running_asyncio_loop
from ._errors import ForkedExecutor
from ._future import Future
from ._options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._engine import Engine
    from ._task import Task

    T = TypeVar("T")

__all__ = ["Session"]

_shutting_down = False  # the interpreter is: nothing new is taken


class Session:
    """Guarded by the engine's lock."""

    __slots__ = (
        "__weakref__",
        "abandoned",
        "cancelled",
        "closed",
        "dispatcher",
        "done",
        "engine",
        "failed",
        "lock",
        "main_by_value",
        "maps",
        "on_idle",
        "options",
        "outstanding",
        "owner_pid",
        "submitted",
        "waiters",
    )

    def __init__(self, engine: Engine, options: Options) -> None:
        self.engine = engine
        self.lock = engine.lock
        self.options = options
        self.main_by_value = engine.settings.main_by_value()
        self.dispatcher = Dispatcher(engine.loop)
        self.closed: str | None = None  # why it takes nothing more
        self.abandoned = False  # what comes back without having run is cancelled
        self.outstanding = 0
        self.submitted = self.done = self.failed = self.cancelled = 0
        self.waiters: list[Any] = []
        self.maps: set[Any] = set()  # maps whose input has not been read to its end
        self.on_idle: Callable[[], None] | None = None  # to be called when nothing is outstanding any more
        engine.sessions.add(self)

    # --- tasks ----------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raise if nothing more can be submitted. With the lock."""
        if self.engine.forked:
            raise ForkedExecutor(self.engine.owner_pid)
        if self.closed is not None:
            raise RuntimeError(self.closed)
        if _shutting_down:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        self.engine.check_usable()

    def submit(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Future[T]:
        """A future for the call. Any thread."""
        if options.callback is not None or options.error_callback is not None:
            options = self._bind_callbacks(options)
        future: Future[T] = Future(self, (fn, args, kwargs), options)
        for value in args:
            if isinstance(value, Future):
                return self._submit_dependent(future)
        if kwargs:
            for value in kwargs.values():
                if isinstance(value, Future):
                    return self._submit_dependent(future)
        with self.lock:
            if self.closed is not None or _shutting_down or self.engine.forked or not self.engine.usable:
                self.check_open()
            self.outstanding += 1
            self.submitted += 1
        self.engine.submit(future)
        return future

    def _submit_dependent(self, future: Future[T]) -> Future[T]:
        from ._pipeline import submit_dependent

        with self.lock:
            self.check_open()
            self.outstanding += 1
            self.submitted += 1
        submit_dependent(self, future)
        return future

    def _bind_callbacks(self, options: Options) -> Options:
        """A loop of asyncio that runs in the parent thread now is where the callbacks go."""
        if options.callback_thread is None and self.dispatcher.is_current():
            loop = running_asyncio_loop()
            if loop is not None:
                return options.changed({"callback_thread": loop})
        return options

    def cancel(self, future: Future[Any]) -> bool:
        if self.engine.forked:
            raise ForkedExecutor(self.engine.owner_pid)
        return self.engine.cancel(future)

    def note_running(self, future: Future[Any]) -> None:
        with self.lock:
            if future.lease is not None and future._state == "PENDING":
                worker, number = future.lease
                if worker.words_running() == number:
                    future._state = "RUNNING"

    def on_resolved(self, task: Task, failed: bool) -> None:
        """Book the outcome of a task. With the lock."""
        self.outstanding -= 1
        if isinstance(task, Future):
            if task._state != "FINISHED":
                self.cancelled += 1
            elif failed:
                self.failed += 1
            else:
                self.done += 1
            options = task.options
            if options.callback is not None or options.error_callback is not None:
                self._queue_callback(task, options)
        if not self.outstanding:
            self.wake()
            if self.on_idle is not None:
                self.engine.loop.call_soon(self.on_idle)

    def wake(self) -> None:
        """Whoever waits for this session looks again. With the lock."""
        for parked in self.waiters:
            parked.wake()

    # --- callbacks ------------------------------------------------------------------------------------------

    def _queue_callback(self, future: Future[Any], options: Options) -> None:
        value: Any
        if future._state != "FINISHED":
            from concurrent.futures import CancelledError

            callback, value = options.error_callback, CancelledError()
        elif future._exception is not None:
            callback, value = options.error_callback, future._exception
        else:
            callback, value = options.callback, future._result
        if callback is None:
            return
        target = options.callback_thread
        if target is None:
            self.dispatcher.put(callback, value)
        elif hasattr(target, "call_soon_threadsafe"):
            try:
                target.call_soon_threadsafe(callback, value)
            except RuntimeError:  # that loop is closed
                self.dispatcher.put(callback, value)
        else:
            self.engine.dispatcher_of(target).put(callback, value)

    def run_callbacks(self, timeout: float | None = 0) -> int:
        return self.dispatcher.wait(timeout) if self.dispatcher.is_current() else 0

    # --- waiting --------------------------------------------------------------------------------------------

    def wait(
        self,
        ready: Callable[[], bool],
        deadline: float | None,
        waiters: Callable[[], list[Any]],
        future: Future[Any] | None = None,
    ) -> bool:
        """Wait until ``ready()``, running callbacks meanwhile if they belong to this thread."""
        engine = self.engine
        if engine.forked:
            raise ForkedExecutor(engine.owner_pid)
        dispatcher = self.dispatcher
        if not dispatcher.is_current():
            dispatcher = engine.dispatcher_of_current() or dispatcher
            if not dispatcher.is_current():
                return engine.loop.wait(ready, deadline, waiters)
        pending = dispatcher.pending
        while True:
            if pending:
                dispatcher.run()
            if ready():
                return True
            engine.loop.wait(lambda: bool(pending) or ready(), deadline, waiters, dispatcher.waiters)
            if not pending:
                return ready()

    def wait_until_done(self) -> None:
        """Wait until nothing of this session is outstanding and its callbacks have run."""
        self.wait(lambda: not self.outstanding, None, lambda: self.waiters)
        if self.dispatcher.is_current():
            self.dispatcher.run()

    def close(self, why: str) -> None:
        """Take nothing more. With the lock."""
        if self.closed is None:
            self.closed = why

    def leave(self) -> None:
        """Nothing is outstanding and nothing will be: the engine may forget this session. Any thread."""
        with self.lock:
            self.engine.sessions.discard(self)
        self.dispatcher.close()
