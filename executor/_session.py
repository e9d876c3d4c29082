"""An executor's account with an engine: its tasks, its options, its callbacks. Several may share one engine."""

from __future__ import annotations

from ._dispatcher import Dispatcher
from ._errors import ForkedExecutor
from ._future import Future
from ._inbox import Inbox, in_callback, running_asyncio_loop
from ._options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._engine import Engine
    from ._room import Room
    from ._task import Task

    T = TypeVar("T")

__all__ = ["Session"]

_shutting_down = False  # the interpreter is: nothing new is taken


class Session:
    """Guarded by the engine's lock."""

    __slots__ = (
        "__weakref__",
        "abandoned",
        "bars",
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
        "others",
        "outstanding",
        "owner_pid",
        "room",
        "starts_waiting",
        "submitted",
        "waiters",
    )

    def __init__(self, engine: Engine, options: Options) -> None:
        self.engine = engine
        self.lock = engine.lock
        self.options = options
        self.main_by_value = engine.settings.main_by_value()
        self.dispatcher = Dispatcher(engine.loop)
        self.others: dict[Any, Dispatcher] = {}  # by callback_thread: where else callbacks are to run
        self.room: Room | None = None  # where max_pending is given
        self.closed: str | None = None  # why it takes nothing more
        self.abandoned = False  # what comes back without having run is cancelled
        self.starts_waiting = True  # False: a call that waits for another's result is cancelled when it comes
        self.outstanding = 0
        self.submitted = self.done = self.failed = self.cancelled = 0
        self.waiters: list[Any] = []
        self.maps: set[Any] = set()  # maps whose input has not been read to its end
        self.bars: set[Any] = set()  # progress bars on the screen
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
        if self.room is None:
            return self._submit(fn, args, kwargs, options)
        self.room.enter(options)
        try:
            return self._submit(fn, args, kwargs, options)
        except BaseException:
            with self.lock:
                self.room.leave()
            raise

    def _submit(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Future[T]:
        if options.placed:
            self.check_placement(options)
        if options.calls_back:
            self.expect_callbacks(options)
        if options.context is not None:
            fn = self.in_context(fn, options)
        future: Future[T] = Future(self, (fn, args, kwargs), options)
        for value in args:
            if isinstance(value, Future):
                return self._submit_dependent(future)
        if kwargs:
            for value in kwargs.values():
                if isinstance(value, Future):
                    return self._submit_dependent(future)
        with self.lock:
            if self.closed is not None or _shutting_down or not self.engine.usable:
                self.check_open()
            self.outstanding += 1
            self.submitted += 1
        self.engine.submit(future)
        return future

    def check_placement(self, options: Options) -> None:
        """ValueError if no worker will ever run a task with these options. Any thread."""
        workers = self.engine.settings.max_workers
        if options.slot is not None and not 0 <= options.slot < workers:
            raise ValueError(f"slot {options.slot}: this executor's workers have slots 0 to {workers - 1}")
        if options.requirement:
            self.engine.tokens.check(options.requirement)

    def in_context(self, fn: Callable[..., T], options: Options) -> Callable[..., T]:
        """The function with the values that the variables of ``options.context`` have now, if it names any."""
        if options.context is None:
            return fn
        from ._contexts import in_context

        return in_context(fn, options.context, self.main_by_value)

    def _submit_dependent(self, future: Future[T]) -> Future[T]:
        from ._pipeline import submit_dependent

        with self.lock:
            self.check_open()
            self.outstanding += 1
            self.submitted += 1
            if self.engine.tracer is not None:
                self.engine.tracer.queued(future)
        submit_dependent(self, future)
        return future

    def cancel(self, future: Future[Any]) -> bool:
        if self.engine.forked:
            raise ForkedExecutor(self.engine.owner_pid)
        from ._cancellation import cancel

        return cancel(self.engine, future)

    def note_running(self, future: Future[Any]) -> None:
        with self.lock:
            if future.lease is not None and future._state == "PENDING" and future.lease[0].has_begun(future):
                future._state = "RUNNING"

    def on_resolved(self, task: Task, failed: bool) -> None:
        """Book the outcome of a task. With the lock."""
        if isinstance(task, Future):
            if task._state != "FINISHED":
                self.cancelled += 1
            elif failed:
                self.failed += 1
            else:
                self.done += 1
            if self.room is not None:
                self.room.leave()
        self.outstanding -= 1  # last: whoever sees nothing outstanding finds all callbacks queued
        if not self.outstanding:
            self.wake()
            if self.on_idle is not None:
                self.engine.loop.call_soon(self.on_idle)

    def wake(self) -> None:
        """Whoever waits for this session looks again. With the lock."""
        for parked in tuple(self.waiters):  # one may take itself off
            parked.wake()

    # --- callbacks ------------------------------------------------------------------------------------------

    def note_asyncio(self) -> None:
        """Where an asyncio loop runs in the parent thread now, callbacks are scheduled on it from now on."""
        if self.dispatcher.is_current():
            self.dispatcher.note_asyncio(running_asyncio_loop())

    def expect_callbacks(self, options: Options) -> None:
        """Callbacks will come: make ready where they are to run."""
        self.note_asyncio()
        if options.callback_thread is not None:
            with self.lock:
                self._dispatcher_for(options.callback_thread)

    def _dispatcher_for(self, target: Any) -> Dispatcher:
        """Where callbacks for that thread, or that asyncio loop, wait. With the lock."""
        own = self.dispatcher
        if target is None or target is own.thread or target is own.asyncio_loop:
            return own
        other = self.others.get(target)
        if other is None:
            other = self.others[target] = Dispatcher(self.engine.loop, target)
        return other

    def dispatcher_here(self) -> Dispatcher | None:
        """The one whose callbacks may run in the calling thread now."""
        if self.dispatcher.is_current():
            return self.dispatcher
        if self.others:
            for other in tuple(self.others.values()):
                if other.is_current():
                    return other
        return None

    def queue_callback_of(self, future: Future[Any], *, cancelled: bool) -> None:
        """The future is about to become done. With the lock."""
        if cancelled:
            from concurrent.futures import CancelledError

            self.queue_callback(future.options, None, CancelledError(), future)
        else:
            self.queue_callback(future.options, future._result, future._exception, future)

    def queue_callback(
        self, options: Options, value: Any, error: BaseException | None, task: Any, index: int = -1
    ) -> None:
        """One of the two callbacks of a task (a future, an item of a map) is due. With the lock."""
        callback = options.callback if error is None else options.error_callback
        if callback is not None:
            if self.engine.tracer is not None:
                callback = self.engine.tracer.timed(callback, task, index)
            self._dispatcher_for(options.callback_thread).put(callback, value if error is None else error)

    def run_callbacks(self, timeout: float | None = 0) -> int:
        dispatcher = self.dispatcher_here()
        return dispatcher.wait(timeout) if dispatcher is not None else 0

    def run_due_callbacks(self) -> None:
        """Those of the calling thread, unless it is the loop's leader at this moment."""
        if not self.engine.loop.is_led_here():
            Inbox.here().run()

    def has_orphaned_callbacks(self) -> bool:
        """Whether some wait whose thread has ended."""
        own = self.dispatcher
        if own.has_due() and own.is_orphaned():
            return True
        return any(other.has_due() and other.is_orphaned() for other in tuple(self.others.values()))

    def run_orphaned_callbacks(self) -> None:
        """Those whose thread has ended. Only for the loop's leader."""
        if self.dispatcher.has_due():
            self.dispatcher.run_if_orphaned()
        if self.others:
            for other in tuple(self.others.values()):
                other.run_if_orphaned()

    # --- waiting --------------------------------------------------------------------------------------------

    def wait(
        self,
        ready: Callable[[], bool],
        deadline: float | None,
        waiters: Callable[[], list[Any]],
        future: Future[Any] | None = None,
    ) -> bool:
        """Wait until ``ready()``, running the callbacks that belong to this thread meanwhile, of any executor."""
        engine = self.engine
        if engine.forked:
            raise ForkedExecutor(engine.owner_pid)
        loop = engine.loop
        if in_callback():
            loop.wait(ready, deadline, waiters)
            return ready()
        inbox = Inbox.here()
        pending = inbox.pending
        of_asyncio = inbox.beside()
        more = of_asyncio.pending if of_asyncio is not None else ()
        while True:
            is_ready = ready()  # first: a callback is put before its future is done
            if pending:
                inbox.run()
            if of_asyncio is not None and more:
                of_asyncio.run()
            if is_ready:
                return True
            inbox.loops.append(loop)
            try:
                loop.wait(lambda: bool(pending) or bool(more) or ready(), deadline, waiters, inbox.waiters)
            finally:
                inbox.loops.remove(loop)
            if not pending and not more and not ready():
                return False

    def wait_until_done(self) -> None:
        """Wait until nothing of this session is outstanding and its callbacks have run.

        Those of the parent thread are left to it if this is another thread: it may be the one that waits for this.
        """
        self.wait(lambda: not self.outstanding, None, lambda: self.waiters)
        if self.dispatcher.is_current():
            self.dispatcher.run()
        elif self.dispatcher.is_orphaned():
            self.dispatcher.wait_until_drained()
        for other in tuple(self.others.values()):
            other.wait_until_drained()

    def close(self, why: str) -> None:
        """Take nothing more. With the lock."""
        if self.closed is None:
            self.closed = why
            if self.room is not None:
                self.wake()

    def leave(self) -> None:
        """Nothing is outstanding and nothing will be: the engine may forget this session. Any thread."""
        with self.lock:
            self.engine.sessions.discard(self)
        tracer = self.engine.tracer
        if tracer is not None and tracer.session is self:
            self.engine.end_trace()

    def free(self) -> None:
        """Close what `fileno` opened. Not while another thread may use it: otherwise it goes with the session."""
        self.dispatcher.close()
        for other in self.others.values():
            other.close()
