"""The package's dispatcher, for an executor that has no loop of its own: threads wait at a bell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from time import monotonic
from typing import Any, cast

from executor._dispatcher import Dispatcher
from executor._inbox import Inbox, in_callback, running_asyncio_loop
from executor._options import Options


class Bell:
    """Rung whenever something changes that a thread may wait for.

    It is to the dispatcher what the engine's loop is to that of a pool.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.lock = threading.Lock()  # under which callbacks are put

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait(self, ready: Callable[[], bool], deadline: float | None, *_: object) -> None:
        with self._changed:
            self._changed.wait_for(ready, None if deadline is None else max(0.0, deadline - monotonic()))


class Callbacks(Dispatcher):
    """Callbacks of one executor, for the thread that made it."""

    def __init__(self) -> None:
        self._bell = Bell()
        super().__init__(cast(Any, self._bell))

    def bound(self, options: Options) -> Options:
        """Where an asyncio loop runs in this thread now, that is where the callbacks go."""
        loop = running_asyncio_loop() if self.is_current() else None
        return options if loop is None else options.changed({"callback_thread": loop})

    def tell(self, future: Future[Any], options: Options) -> None:
        """Queue the callback of a future that is done.  Any thread."""
        if future.cancelled():
            self.post(options, False, CancelledError())
        elif (error := Future.exception(future)) is not None:
            self.post(options, False, error)
        else:
            self.post(options, True, Future.result(future))
        self._bell.wake()

    def post(self, options: Options, succeeded: bool, value: Any) -> None:
        """Queue the callback for a result or an error.  Any thread."""
        callback = options.callback if succeeded else options.error_callback
        if callback is None:
            return
        if options.callback_thread is not None:  # a loop, from `bound`: what a caller names is refused
            try:
                options.callback_thread.call_soon_threadsafe(callback, value)
                return
            except RuntimeError:  # that loop is closed: the end of `with` runs it
                pass
        with self._bell.lock:
            self.put(callback, value)

    def wake(self) -> None:
        """Whoever waits looks again.  Any thread."""
        self._bell.wake()

    def wait_until(self, ready: Callable[[], bool], deadline: float | None = None) -> None:
        """Wait, and run the callbacks that belong to this thread meanwhile."""
        if in_callback():
            self._bell.wait(ready, deadline)
            return
        inbox = Inbox.here()
        pending = inbox.pending
        inbox.loops.append(cast(Any, self._bell))
        try:
            while True:
                if pending:
                    inbox.run()
                if ready():
                    return
                self._bell.wait(lambda: ready() or bool(pending), deadline)
                if not pending:
                    return
        finally:
            inbox.loops.remove(cast(Any, self._bell))
