"""The parent thread of a pool: the one that made it, where its callbacks run while it waits."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from ._loop import Parked

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._executor import ProcessPoolExecutor

__all__ = ["Bell", "ParentThread"]


class ParentThread:
    def __init__(self, executor: ProcessPoolExecutor) -> None:
        # Weak: results know this, and results that are kept must not keep the workers of a dropped pool.
        self._executor = weakref.ref(executor)
        self._thread = threading.current_thread()
        self._in_callback = False  # that thread only

    def call(self, callback: Callable[[Any], object], value: Any) -> None:
        """Call a callback of the pool.  The executor has brought it to the thread."""
        self._in_callback = True
        try:
            callback(value)
        finally:
            self._in_callback = False

    def run_callbacks(self) -> bool:
        """Run the callbacks that are due; False if the calling thread cannot."""
        executor = self._executor_for_callbacks()
        if executor is None:
            return False
        executor.run_callbacks(0)
        return True

    def bell(self) -> Bell:
        """For the calling thread to wait with."""
        executor = self._executor_for_callbacks()
        return Bell() if executor is None else _CallbackBell(executor)

    def _executor_for_callbacks(self) -> ProcessPoolExecutor | None:
        """None in another thread, and inside a callback: one never runs inside another."""
        if threading.current_thread() is not self._thread or self._in_callback:
            return None
        return self._executor()


class Bell:
    """Rung once, from any thread, for one thread that waits."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def wait(self, timeout: float | None) -> bool:
        """False if it was not rung within ``timeout`` seconds."""
        return self._rung.wait(timeout)


class _CallbackBell(Bell):
    """For the parent thread, which runs callbacks while it waits."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        super().__init__()
        self._inbox = executor._session.dispatcher.inbox
        self._parked = Parked()

    def ring(self) -> None:
        super().ring()
        self._parked.wake()

    def wait(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        inbox = self._inbox
        inbox.waiters.append(self._parked)
        try:
            while not self._rung.is_set():
                if inbox.run():
                    continue
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._parked.wait(left)
        finally:
            inbox.waiters.remove(self._parked)
        return True
