"""The callbacks that are due in one thread, of whatever executors, in the order in which their tasks resolved.

They run while that thread waits for something of this package, calls `run_callbacks`, or comes to them in its asyncio
loop; one at a time, never inside another callback.
"""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from _thread import allocate_lock
from collections import deque

from ._forksafety import on_fork_in_child
from ._interrupt import reaches_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._dispatcher import Dispatcher
    from ._loop import Loop, Parked

__all__ = ["Inbox", "in_callback", "running_asyncio_loop"]

log = logging.getLogger("executor")
_local = threading.local()  # inbox: the thread's; running: whether it is in a callback
_all: weakref.WeakValueDictionary[int, Inbox] = (
    weakref.WeakValueDictionary()
)  # by the id of what they are for, and hold
_all_lock = threading.RLock()


def running_asyncio_loop() -> Any:
    """The asyncio loop that runs in this thread, None if there is none. Does not import asyncio."""
    asyncio = sys.modules.get("asyncio")
    return asyncio._get_running_loop() if asyncio is not None else None


def in_callback() -> bool:
    """Whether the calling thread is in a callback, so that no other may run in it now."""
    return getattr(_local, "running", False)


class Inbox:
    """Of a thread; or of an asyncio loop, whichever thread it runs in. Puts come from any thread.

    What several executors share has no lock of its own: each change is one operation of a list or a deque.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_said_orphaned",
        "_scheduled",
        "asyncio_loop",
        "loops",
        "pending",
        "readable",
        "runner",
        "thread",
        "waiters",
    )

    def __init__(self, target: Any) -> None:
        is_thread = isinstance(target, threading.Thread)
        self.thread: threading.Thread | None = target if is_thread else None
        self.asyncio_loop: Any = None if is_thread else target  # where runs are scheduled as well
        self.pending: deque[tuple[Dispatcher, Callable[[Any], object], Any]] = deque()
        self.waiters: list[Parked] = []  # who parks until something is put
        self.loops: list[Loop] = []  # in which the thread waits at present
        self.readable: weakref.WeakSet[Dispatcher] = weakref.WeakSet()  # those with a descriptor
        self.runner = 0  # the thread that runs callbacks, while one does
        self._busy = allocate_lock()  # held by that thread
        self._scheduled = False  # a run is on its way in asyncio_loop
        self._said_orphaned = False
        on_fork_in_child(self)

    @staticmethod
    def of(target: Any) -> Inbox:
        """The one of that thread or asyncio loop. Any thread."""
        with _all_lock:
            inbox = _all.get(id(target))
            if inbox is None:
                inbox = _all[id(target)] = Inbox(target)
            return inbox

    @staticmethod
    def here() -> Inbox:
        """The calling thread's."""
        inbox: Inbox | None = getattr(_local, "inbox", None)
        if inbox is None:
            inbox = _local.inbox = Inbox.of(threading.current_thread())
        return inbox

    def beside(self) -> Inbox | None:
        """That of the asyncio loop that runs in this, the calling thread, if somebody has named that loop."""
        loop = running_asyncio_loop()
        other = None if loop is None else _all.get(id(loop))
        if other is not None:
            other.waiters, other.loops = self.waiters, self.loops  # what wakes the thread wakes it for both
        return other

    def is_current(self) -> bool:
        """Whether callbacks may run in the calling thread now."""
        if in_callback() or self._busy.locked():
            return False
        if self.thread is None:
            return running_asyncio_loop() is self.asyncio_loop
        return threading.current_thread() is self.thread

    def is_run_here(self) -> bool:
        """Whether the calling thread is in one of these callbacks."""
        return self.runner == threading.get_ident()

    def put(self, dispatcher: Dispatcher, callback: Callable[[Any], object], value: Any) -> None:
        self.pending.append((dispatcher, callback, value))
        self.wake(dispatcher.loop)
        if self.asyncio_loop is not None:
            self._schedule()

    def wake(self, awake: Loop | None = None) -> None:
        """Whoever waits looks again. ``awake``: its leader is the caller, or is woken by the caller."""
        for parked in tuple(self.waiters):
            parked.wake()
        for loop in tuple(self.loops):
            if loop is not awake:
                loop.wake()

    # --- running --------------------------------------------------------------------------------------------

    def run(self, most: int | None = None) -> int:
        """Run what is due now, at most so many; how many ran."""
        ran = 0
        while self.pending and ran != most and not in_callback() and self._busy.acquire(blocking=False):
            ran += self._run(None if most is None else most - ran)
        return ran

    def _run(self, most: int | None) -> int:
        """The same for who holds ``_busy``."""
        _local.running = True
        self.runner = threading.get_ident()
        ran = 0
        try:
            while self.pending and ran != most:
                dispatcher, callback, value = self.pending.popleft()
                ran += 1
                with dispatcher.loop.lock:
                    pass  # it was put under this lock, before its future was seen to be done
                try:
                    self._call(callback, value)
                finally:
                    dispatcher.note_ran()
        finally:
            self.runner = 0
            _local.running = False
            self._busy.release()
            # All that was taken has rung by now: it did so under the lock that was waited for above.
            for dispatcher in list(self.readable):
                dispatcher.quieten()
                dispatcher.ring()
        return ran

    @staticmethod
    def _call(callback: Callable[[Any], object], value: Any) -> None:
        try:
            callback(value)
        except BaseException as error:
            if reaches_here(error):
                raise
            log.exception("a callback raised (%r)", callback)

    # --- asyncio --------------------------------------------------------------------------------------------

    def note_asyncio(self, loop: Any) -> None:
        """The thread runs this asyncio loop now (None: it runs none): callbacks are scheduled on it from now on."""
        if loop is None or loop is self.asyncio_loop:
            return
        self.asyncio_loop = loop
        self._scheduled = False  # what was scheduled on another loop may never run
        if self.pending:
            self._schedule()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        try:
            self.asyncio_loop.call_soon_threadsafe(self._run_scheduled)
        except RuntimeError:  # it is closed: they run while the thread waits, as where there is no loop
            self._scheduled = False

    def _run_scheduled(self) -> None:
        self._scheduled = False  # first: what is put from here on schedules a run of its own
        self.run(len(self.pending))  # those that come meanwhile do not keep the loop from its other work
        if self.pending:
            self._schedule()

    # --- orphans --------------------------------------------------------------------------------------------

    def is_orphaned(self) -> bool:
        """Whether nobody is left to whom the callbacks belong."""
        if self.thread is None:
            return bool(self.asyncio_loop.is_closed())
        return not self.thread.is_alive()

    def run_orphaned(self) -> None:
        """The thread has ended: its callbacks run in the calling thread."""
        if not self._said_orphaned:
            self._said_orphaned = True
            name = self.thread.name if self.thread is not None else self.asyncio_loop
            log.warning("the thread that callbacks belong to (%s) has ended: they run elsewhere", name)
        self.run()

    def after_fork_in_child(self) -> None:
        """What is due is the parent's. A callback that has forked goes on in the child."""
        global _all_lock
        _all_lock = threading.RLock()  # a thread that is not here may hold it
        self.pending.clear()
        self.waiters.clear()
        self.loops.clear()
        if self.runner != threading.get_ident():
            self.runner = 0
            self._busy = allocate_lock()
