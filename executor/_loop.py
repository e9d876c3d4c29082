"""The one I/O loop of a manager, which several threads may run, one at a time.

Waking another thread costs as much as the trip to a worker. So a thread that waits for a result leads the loop
itself for as long as it waits, and the answer reaches it without a hand-over. When nobody waits, the loop's own
thread leads.

    the loop's thread: LEADING ⇄ ASIDE

    LEADING   it is in `turn`, or about to be
    ASIDE     it lets waiting threads lead. It goes there when it has woken a waiter (who will soon wait again), and
              comes back when none has led for `_HANDBACK` seconds, or when a leader that led for longer leaves

A thread that finds the loop led by another parks until it is woken (`Parked`).
"""

from __future__ import annotations

import os
import select
import signal
import threading
from _thread import allocate_lock
from collections import deque
from heapq import heappop, heappush
from itertools import count
from time import monotonic

from ._forksafety import disown, own
from ._spin import Spin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["READ", "WRITE", "Loop", "Parked", "Timer"]

READ, WRITE = 1, 2
_HANDBACK = 0.002  # seconds
_BRIEFLY = 0.0005  # seconds that a waiter waits for a leader which is about to leave
_MOST_EVENTS = 256


class Timer:
    """A call that is due at ``when`` (monotonic seconds). Guarded by the manager's lock."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Parked:
    """A thread that waits while another leads. Also a waiter in the sense of concurrent.futures."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def wait(self, timeout: float | None) -> None:
        if self._lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return

    def wake(self, future: object = None) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # awake already
            pass

    add_result = add_exception = add_cancelled = wake


_NO_HANDLER = None, -1
_EPOLL = hasattr(select, "epoll")


class _Poller:
    """epoll where there is one, select.poll elsewhere. Registration may be changed while another thread waits."""

    def __init__(self) -> None:
        self._epoll: Any = None
        if _EPOLL:
            self._epoll = select.epoll()
            self._read, self.WRITABLE = select.EPOLLIN, select.EPOLLOUT
        else:
            self._epoll = select.poll()
            self._read, self.WRITABLE = select.POLLIN, select.POLLOUT

    def _mask(self, events: int) -> int:
        return (self._read if events & READ else 0) | (self.WRITABLE if events & WRITE else 0)

    def register(self, fd: int, events: int) -> None:
        self._epoll.register(fd, self._mask(events))

    def modify(self, fd: int, events: int) -> None:
        try:
            self._epoll.modify(fd, self._mask(events))
        except (OSError, KeyError, ValueError):  # another thread has just closed it
            pass

    def unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, KeyError, ValueError):  # closed already
            pass

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        if _EPOLL:
            events: list[tuple[int, int]] = self._epoll.poll(timeout, _MOST_EVENTS)
            return events
        polled: list[tuple[int, int]] = self._epoll.poll(None if timeout is None else timeout * 1000)
        return polled

    def close(self) -> None:
        if _EPOLL:
            self._epoll.close()


class Loop:
    """Waits for descriptors and deadlines, and calls their handlers. See the top of this file for who leads."""

    def __init__(
        self,
        name: str,
        end_of_turn: Callable[[], None],
        crashed: Callable[[BaseException], None],
        may_spin: Callable[[], bool],
    ) -> None:
        """``may_spin()``: whether a core is left for a thread that waits."""
        self.lock = threading.RLock()  # the manager's lock: all state that threads share
        self._end_of_turn = end_of_turn
        self._crashed = crashed
        self._may_spin = may_spin
        self._poller = _Poller()
        self._spin = Spin(self._poller.wait)
        self._handlers: dict[int, tuple[Callable[[bool, bool], None], int]] = {}  # with the turn they came in
        self._turn = 0
        self._timers: list[tuple[float, int, Timer]] = []  # guarded by lock
        self._order = count()
        self._soon: deque[Callable[[], None]] = deque()
        self._leadership = threading.RLock()
        self._leading = False  # some thread is in or about `turn`; written by whoever holds the leadership
        self._own = False  # the leader is the loop's own thread
        self._sleeping = False  # the leader may be asleep; written by the leader
        self._served = 0  # how many times a waiting thread has led
        self._handback = allocate_lock()
        self._handback.acquire()
        self._deep = False  # the loop's thread sleeps until a leader leaves
        self._aside = False  # a waiter was woken: the loop's thread is to step aside
        self.parked: list[Parked] = []  # threads that wait while another leads; guarded by lock
        self.polling = False  # the leader is in `poll`
        self._woken = False
        self._interrupted = False  # a turn was left half-way
        self.closed = False
        self._wake_read, self._wake_write = _wake_pipe()
        self._poller.register(self._wake_read, READ)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- any thread -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """End the leader's sleep; or, when nobody leads, have the loop's thread lead again."""
        if self.closed:
            return
        self._woken = True  # for a leader that is on its way to sleep
        if self._leading:
            if self._sleeping:
                try:
                    os.write(self._wake_write, b"\0")
                except (BlockingIOError, OSError):
                    pass  # full: it will wake
        else:
            self._signal_handback()

    def is_led_here(self) -> bool:
        """Whether the calling thread is in a turn."""
        return bool(self._leadership._is_owned())  # type: ignore[attr-defined]

    def call_soon(self, action: Callable[[], None]) -> None:
        """Run ``action`` in the loop. Takes no lock: may be called from garbage collection at any point."""
        self._soon.append(action)
        self.wake()

    def call_at(self, when: float, action: Callable[[], None]) -> Timer:
        """Run ``action`` in the loop at that time (monotonic seconds)."""
        timer = Timer(when, action)
        with self.lock:
            first = not self._timers or when < self._timers[0][0]
            heappush(self._timers, (when, next(self._order), timer))
        if first and self._sleeping and not self._leadership._is_owned():  # type: ignore[attr-defined]
            self.wake()
        return timer

    def watch(self, fd: int, events: int, handler: Callable[[bool, bool], None]) -> None:
        """Call ``handler(readable, writable)`` when the descriptor is ready."""
        known = fd in self._handlers
        self._handlers[fd] = handler, self._turn
        if known:
            self._poller.modify(fd, events)
        else:
            self._poller.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        if fd in self._handlers:
            self._poller.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def wait(
        self,
        ready: Callable[[], bool],
        deadline: float | None,
        waiters: Callable[[], list[Any]],
        also: list[Any] | None = None,
    ) -> bool:
        """Wait until ``ready()``, leading the loop where nobody does; what ``ready()`` is at the end.

        ``waiters()`` and ``also`` list who is to be woken when it may have become true.
        """
        lead = self._leadership
        nested = lead._is_owned()  # type: ignore[attr-defined]
        while not ready():
            if deadline is not None and monotonic() >= deadline:
                return ready()
            if self.closed:
                if ready():  # it became true just before the end
                    return True
                raise RuntimeError("the executor's loop has ended")
            try:
                # An interrupt may come at any point in here: what is held is asked for, not remembered.
                if nested or lead.acquire(blocking=False) or (self._is_leaving and lead.acquire(timeout=_BRIEFLY)):
                    self._lead(ready, deadline)
                    continue
            finally:
                if not nested and lead._is_owned():  # type: ignore[attr-defined]
                    self._leave()
            self._follow(ready, deadline, waiters, also)
        return True

    def poll(self) -> None:
        """Take a turn without waiting, if nobody leads. For threads that keep workers busy but have no time to wait.

        Callbacks of the user's are left to the loop's thread: the caller may hold a lock that they need.
        """
        lead = self._leadership
        if self.closed or lead._is_owned():  # type: ignore[attr-defined]
            return
        try:
            if lead.acquire(blocking=False):
                self._leading = self.polling = True
                self._served += 1
                self.turn(0)
            else:
                self._aside = True  # the caller will come back, and can lead then
        finally:
            if lead._is_owned():  # type: ignore[attr-defined]
                self.polling = False
                self._leave()

    def _lead(self, ready: Callable[[], bool], deadline: float | None) -> None:
        self._leading = True
        self._served += 1
        main = threading.current_thread() is threading.main_thread()
        while not self.closed and not ready():
            timeout = None if deadline is None else deadline - monotonic()
            if timeout is not None and timeout <= 0:
                return
            if main:
                self._turn_in_main_thread(timeout)
            else:
                self.turn(timeout, spin=True)

    def _leave(self) -> None:
        self._leading = False
        self._leadership.release()
        if self._deep or self.parked or self._soon:
            self._signal_handback()

    def _follow(
        self,
        ready: Callable[[], bool],
        deadline: float | None,
        waiters: Callable[[], list[Any]],
        also: list[Any] | None,
    ) -> None:
        parked = Parked()
        if also is not None:
            also.append(parked)  # before the last look: whoever wakes those in there may hold another lock
        with self.lock:
            waiting = waiters()
            waiting.append(parked)
            self.parked.append(parked)
        try:
            if ready():
                return
            if not self._leading or self._is_leaving:
                self._signal_handback()
            parked.wait(None if deadline is None else deadline - monotonic())
        finally:
            with self.lock:
                self.parked.remove(parked)
                waiting.remove(parked)
                if also is not None:
                    also.remove(parked)

    def _turn_in_main_thread(self, timeout: float | None) -> None:
        """Ctrl-C between the last bytecode and the sleep would go unnoticed: let the signal itself end the sleep."""
        try:
            before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        except ValueError:  # not the main interpreter
            self.turn(timeout, spin=True)
            return
        if before != -1:  # an asyncio loop's: its signals are to reach it
            signal.set_wakeup_fd(before)
            self.turn(timeout, spin=True)
            return
        try:
            self.turn(timeout, spin=True)
        finally:
            signal.set_wakeup_fd(before)

    def hand_back(self) -> None:
        """Have the loop's own thread take the next turn, at once."""
        self._woken = True
        self._signal_handback()

    def note_woken(self) -> None:
        """A waiting thread was woken: it will soon wait again, and can lead then."""
        self._aside = True

    @property
    def _is_leaving(self) -> bool:
        """Whether the loop's thread leads, but is to step aside at the end of this turn."""
        return self._aside and self._own

    def _signal_handback(self) -> None:
        try:
            self._handback.release()
        except RuntimeError:  # signalled already
            pass

    # --- the leader -----------------------------------------------------------------------------------------

    def turn(self, timeout: float | None, *, spin: bool = False) -> None:
        """Wait, handle each event, run what is due, end the turn. Only for the leader; ``spin`` where it only waits."""
        try:
            self._turn += 1
            patience = self._patience(timeout)
            wait = self._spin.wait if spin and patience != 0 and self._may_spin() else self._poller.wait
            for fd, mask in wait(patience):
                self._sleeping = False
                if fd == self._wake_read:
                    _drain(fd)
                    continue
                handler, since = self._handlers.get(fd, _NO_HANDLER)
                # One that came in this turn may have the number of a descriptor that was closed in it: the event
                # is not its own. If it is, the next turn sees it again.
                if handler is not None and since != self._turn:
                    writable = mask & self._poller.WRITABLE
                    handler(mask != writable, bool(writable))  # errors and hang-ups are read as the end
            self._sleeping = False
            self._run_due()
            self._end_of_turn()
            self._interrupted = False
        except BaseException:
            # Ctrl-C, for one. What was read is kept where the end of the next turn finds it; so do not sleep before.
            self._sleeping = False
            self._interrupted = True
            raise

    def _patience(self, timeout: float | None) -> float | None:
        """How long to sleep: until the next deadline."""
        self._sleeping = True  # from here on `wake` writes; what came before is seen below
        if self._woken or self._soon or self._interrupted:
            self._woken = False
            return 0
        while self._timers:
            with self.lock:
                if self._timers and self._timers[0][2].action is None:
                    heappop(self._timers)
                    continue
            due = self._timers[0][0] - monotonic()
            return max(0.0, due if timeout is None else min(due, timeout))
        return timeout

    def _run_due(self) -> None:
        """What is run is taken off first: it may wait for something, and so lead turns of its own."""
        for _ in range(len(self._soon)):  # what they add is for the next turn: events come in between
            try:
                action = self._soon.popleft()
            except IndexError:  # such a turn has run the rest
                break
            try:
                action()
            except BaseException:  # Ctrl-C
                self._soon.appendleft(action)
                raise
        now = monotonic()
        while self._timers:
            with self.lock:
                if not self._timers or self._timers[0][0] > now:
                    return
                timer = heappop(self._timers)[2]
            if timer.action is not None:
                try:
                    timer.action()
                except BaseException:
                    self.call_at(timer.when, timer.action)
                    raise

    # --- the loop's own thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        lead = self._leadership
        while not self.closed:
            if not lead.acquire(blocking=False):
                self._step_aside()
                continue
            try:
                self._leading = self._own = True
                self._aside = False
                self.turn(None)
            except BaseException as error:
                self._crashed(error)
            finally:
                self._leading = self._own = False
                lead.release()
            if self._aside and not self.closed:
                self._step_aside()
        lead.acquire()  # a thread that leads still is on its way out
        self.free()
        lead.release()

    def _step_aside(self) -> None:
        served = self._served
        while not self.closed:
            if self._handback.acquire(timeout=_HANDBACK):
                return
            if not self._leading:
                if served == self._served:
                    return  # nobody came
            elif served == self._served:
                self._deep = True  # one leader for a whole tick: it may be for hours
                if self._leading:
                    self._handback.acquire()
                self._deep = False
                return
            served = self._served

    def close(self) -> None:
        """End the loop's thread (from any thread). Nobody leads after that."""
        if self.closed:
            return
        self.closed = True
        for parked in self.parked:
            parked.wake()
        self._signal_handback()
        try:
            os.write(self._wake_write, b"\0")
        except OSError:  # full, or freed already
            pass

    def free(self) -> None:
        """Close the loop's descriptors, once its thread has ended."""
        for fd in (self._wake_read, self._wake_write):
            if fd >= 0:
                os.close(disown(fd))
        self._wake_read = self._wake_write = -1
        self._poller.close()

    def after_fork_in_child(self) -> None:
        """Nothing of this is the child's, and its descriptors are closed already."""
        self.closed = True
        self.lock = threading.RLock()
        self._handlers.clear()
        self._wake_read = self._wake_write = -1
        self._poller.close()


def _wake_pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    return own(read_end), own(write_end)


def _drain(fd: int) -> None:
    try:
        os.read(fd, 4096)
    except BlockingIOError:
        pass
