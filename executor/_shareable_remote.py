"""A semaphore that lives in another process and is asked for over a socket.

    lobby     one for each semaphore: a socket pair, whose far end goes, as a descriptor, into every pickle of
    the
              semaphore. Whoever has a copy knocks: it sends the end of a ...
    line      ... socket pair of its own, over which it asks, one request at a time.

A grant may be lost: its asker may die, or be interrupted while it waits. So the asker confirms each grant
before it goes on; a line that ends with its grant unconfirmed gives it back, and so does one whose asker
thinks better of it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from struct import Struct

from ._shareable_broker import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _multiprocessing import SemLock  # type: ignore[import-not-found]  # typeshed has no stub

    from ._shareable_broker import Broker
    from ._shareable_locks import Link

__all__ = ["Lobby", "RemoteSemLock"]

_RECURSIVE_MUTEX = 0  # as in multiprocessing.synchronize

_REQUEST = Struct("=Bd")  # what, and for how many seconds to wait
_ANSWER = Struct("=q")
_ACQUIRE, _CONFIRM, _CANCEL, _RELEASE, _VALUE = range(5)
_NO, _YES, _TOO_MANY = 0, 1, -1

# Seconds. A thread inside sem_wait() cannot be called back, so for an asker that may have died none waits
# there for longer than this; one that is still there asks again.
_LONGEST_WAIT = 1.0


class Lobby:
    """The serving end: lets in whoever knocks."""

    def __init__(self, semaphore: SemLock) -> None:
        self._semaphore = semaphore
        self._socket, far = _pair()
        self.far = far.detach()

    def fileno(self) -> int:
        return self._socket.fileno()

    def ready(self, broker: Broker) -> None:
        knock, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1, socket.MSG_CMSG_CLOEXEC)
        if not knock:
            raise EOFError
        for descriptor in descriptors:
            serve(_Line(socket.socket(fileno=descriptor), self._semaphore))

    def close(self) -> None:
        self._socket.close()

    abandon = close


class _Line:
    """The serving end of one asker's line. One thread at a time: the broker's, or the one that waits."""

    def __init__(self, line: socket.socket, semaphore: SemLock) -> None:
        self._socket = line
        self._semaphore = semaphore
        self._granted = self._confirmed = False  # of the last request

    def fileno(self) -> int:
        return self._socket.fileno()

    def ready(self, broker: Broker) -> None:
        request = self._socket.recv(_REQUEST.size)
        if not request:
            raise EOFError
        what, patience = _REQUEST.unpack(request)
        if what == _CONFIRM:
            self._confirmed = True
            return
        if what == _CANCEL:
            self._take_back()
            return
        self._granted = self._confirmed = False
        if what == _ACQUIRE:
            self._acquire(broker, patience)
        elif what == _RELEASE:
            self._answer(self._release())
        else:
            self._answer(self._semaphore._get_value())

    def _acquire(self, broker: Broker, patience: float) -> None:
        self._granted = self._semaphore.acquire(False)
        if self._granted or patience <= 0:
            self._answer(self._granted)
            return
        broker.pause(self)
        try:
            threading.Thread(
                target=self._wait, args=(broker, patience), name="executor-broker-wait", daemon=True
            ).start()
        except RuntimeError:  # no more threads: the asker asks again
            self._answer(_NO)
            broker.resume(self)

    def _wait(self, broker: Broker, patience: float) -> None:
        try:
            self._granted = self._semaphore.acquire(True, patience)
            self._answer(self._granted)
        except OSError:
            pass  # the asker has gone; the broker sees that too, and closes
        finally:
            broker.resume(self)

    def _release(self) -> int:
        try:
            self._semaphore.release()
        except ValueError:
            return _TOO_MANY
        return _YES

    def _answer(self, answer: int) -> None:
        self._socket.send(_ANSWER.pack(answer))

    def _take_back(self) -> None:
        if self._granted:
            self._granted = False
            self._release()

    def close(self) -> None:
        self._socket.close()
        if not self._confirmed:
            self._take_back()

    def abandon(self) -> None:
        self._socket.close()


class RemoteSemLock:
    """The asking end. Has the methods of ``_multiprocessing.SemLock``, so that multiprocessing's classes work
    on it.

    Whose a recursive lock is, and how often it was taken, is kept here, as it is there. A wait that was given up
    may still be granted within `_LONGEST_WAIT`, and is given back at once.
    """

    def __init__(self, link: Link, kind: int, maxvalue: int) -> None:
        self.link = link
        self.kind = kind
        self.maxvalue = maxvalue
        self._owner = 0
        self._depth = 0
        self._idle: list[socket.socket] = []
        self._pid = os.getpid()

    @property
    def name(self) -> str:
        return self.link.name

    handle = name

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        if self.kind == _RECURSIVE_MUTEX and self._is_mine():
            self._depth += 1
            return True
        if not block:
            timeout = 0
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = _LONGEST_WAIT if timeout is None else min(timeout, _LONGEST_WAIT)
        while not self._ask(_ACQUIRE, patience):
            if deadline is not None:
                patience = min(deadline - time.monotonic(), _LONGEST_WAIT)
                if patience <= 0:
                    return False
        self._owner = threading.get_ident()
        self._depth += 1
        return True

    def release(self) -> None:
        if self.kind == _RECURSIVE_MUTEX:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._depth > 1:
                self._depth -= 1
                return
        # First, for once it is released another thread here may take it.
        self._depth -= 1
        if self._ask(_RELEASE) == _TOO_MANY:
            self._depth += 1
            raise ValueError("semaphore or lock released too many times")

    __enter__ = acquire

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _count(self) -> int:
        return self._depth

    def _is_mine(self) -> bool:
        return self._depth > 0 and self._owner == threading.get_ident()

    def _get_value(self) -> int:
        return self._ask(_VALUE)

    def _is_zero(self) -> bool:
        return self._ask(_VALUE) == 0

    def _after_fork(self) -> None:
        self._depth = 0

    def _ask(self, what: int, patience: float = 0) -> int:
        line = None
        try:
            line = self._line()
            answer = _exchange(line, what, patience)
        except ConnectionError:
            if line is not None:
                line.close()
            raise ConnectionResetError(
                "The process that made this lock has ended, and the lock with it: it was made under the "
                "start method 'fork'. One of multiprocessing.get_context('forkserver') lives as long as "
                "anybody has it."
            ) from None
        except BaseException:  # KeyboardInterrupt, or what a signal handler raises
            if line is not None:
                _cancel(line)
            raise
        self._idle.append(line)
        return answer

    def _line(self) -> socket.socket:
        if self._pid != os.getpid():  # a line is for one process
            self._hang_up()
            self._pid = os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return _knock(self.link.fileno())

    def _hang_up(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        self._hang_up()


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _knock(descriptor: int) -> socket.socket:
    lobby = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)
    try:
        near, far = _pair()
        with far:
            try:
                socket.send_fds(lobby, [b"+"], [far.fileno()])
            except BaseException:
                near.close()
                raise
    finally:
        lobby.detach()  # it is not ours to close
    return near


def _exchange(line: socket.socket, what: int, patience: float) -> int:
    line.send(_REQUEST.pack(what, patience))
    reply = line.recv(_ANSWER.size)
    if not reply:
        raise ConnectionResetError
    answer: int = _ANSWER.unpack(reply)[0]
    if what == _ACQUIRE and answer == _YES:
        line.send(_REQUEST.pack(_CONFIRM, 0))
    return answer


def _cancel(line: socket.socket) -> None:
    with line:
        try:
            line.send(_REQUEST.pack(_CANCEL, 0))
        except OSError:
            pass  # closing it says enough
