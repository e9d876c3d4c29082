"""Brings the callbacks of one executor to one thread: the one that made the executor, or one that was named.

put ▸ Inbox of that thread, which those of its other executors come to as well ▸ the callback
"""

from __future__ import annotations

import os
from time import monotonic

from ._inbox import Inbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import Any

    from ._loop import Loop

__all__ = ["Dispatcher"]

_LOOK_AGAIN = 0.5  # seconds


class Dispatcher:
    """Puts come from any thread; what is put runs in the thread of ``inbox`` (or its stand-in).

    ``target``: that thread (default: the calling one), or an asyncio loop, whichever thread it runs in.
    """

    def __init__(self, loop: Loop, target: Any = None) -> None:
        self.loop = loop
        self.inbox = Inbox.here() if target is None else Inbox.of(target)
        self._put = 0  # how many callbacks came; guarded by the manager's lock
        self._ran = 0  # how many have run to their end; written by whoever runs them
        self._awaited = False  # somebody is in `wait_until_drained`
        self._closed = False
        self._read_end = self._write_end = -1

    @property
    def thread(self) -> threading.Thread | None:
        return self.inbox.thread

    @property
    def asyncio_loop(self) -> Any:
        return self.inbox.asyncio_loop

    def is_current(self) -> bool:
        """Whether callbacks may run in the calling thread now."""
        return self.inbox.is_current()

    def has_due(self) -> bool:
        """Whether some callback has not run to its end. Any thread."""
        return self._ran != self._put

    def is_drained(self) -> bool:
        """Whether every callback so far has run to its end, but for one that the caller itself is in. Any thread."""
        return not self.has_due() or self.inbox.is_run_here()  # then the others come after it

    def wait_until_drained(self) -> None:
        """Until every callback so far has run to its end. Any thread."""
        self._awaited = True
        while not self.is_drained():
            if self.is_current():
                self.run()
                continue
            self.loop.wake()  # the leader runs them if their thread has ended. Of that there is no notice: look again
            self.loop.wait(self.is_drained, monotonic() + _LOOK_AGAIN, list, self.inbox.waiters)

    def put(self, callback: Callable[[Any], object], value: Any) -> None:
        """Queue a callback. With the manager's lock; any thread."""
        self._put += 1
        self.inbox.put(self, callback, value)
        if self._write_end >= 0:
            self.ring()

    def run(self, most: int | None = None) -> int:
        """Run what is due in the thread now, of its other executors too, at most so many; how many ran."""
        return self.inbox.run(most)

    def note_ran(self) -> None:
        """A callback has run to its end. Who runs them."""
        self._ran += 1
        if self._awaited and not self.has_due():
            self.inbox.wake()
            self.loop.wake()

    def note_asyncio(self, loop: Any) -> None:
        """The thread runs this asyncio loop now (None: it runs none): callbacks are scheduled on it from now on."""
        self.inbox.note_asyncio(loop)

    def is_orphaned(self) -> bool:
        """Whether nobody is left to whom the callbacks belong."""
        return self.inbox.is_orphaned()

    def run_if_orphaned(self) -> None:
        """If the thread has ended, its callbacks run here, in the loop."""
        if self.has_due() and self.is_orphaned():
            self.inbox.run_orphaned()

    def wait(self, timeout: float | None) -> int:
        """Run callbacks as they come for that many seconds, at least what is due now; how many ran."""
        inbox = self.inbox
        ran = inbox.run()
        deadline = None if timeout is None else monotonic() + timeout
        if not ran and (deadline is None or monotonic() < deadline):
            inbox.loops.append(self.loop)
            try:
                self.loop.wait(lambda: bool(inbox.pending) or self._closed, deadline, list, inbox.waiters)
            finally:
                inbox.loops.remove(self.loop)
            ran = inbox.run()
        return ran

    # --- the descriptor -------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """A descriptor that is readable while callbacks wait. ValueError when no more will come."""
        if self._closed:
            raise ValueError("the executor was shut down: no callbacks will come")
        if self._read_end < 0:
            self._read_end, self._write_end = os.pipe()
            os.set_blocking(self._read_end, False)
            os.set_blocking(self._write_end, False)
            self.inbox.readable.add(self)
            self.ring()
        return self._read_end

    def ring(self) -> None:
        """Make it readable if a callback waits."""
        if self._write_end >= 0 and self.has_due():
            try:
                os.write(self._write_end, b"\0")
            except BlockingIOError:
                pass  # readable it is already

    def quieten(self) -> None:
        if self._read_end >= 0:
            try:
                os.read(self._read_end, 65536)
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Nothing more will be put; what is pending may still be run."""
        self._closed = True
        self.inbox.wake()
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        for fd in (self._read_end, self._write_end):
            if fd >= 0:
                os.close(fd)
        self._read_end = self._write_end = -1

    __del__ = _close_descriptor
