"""A lock between processes that notices when its holder dies."""

from __future__ import annotations

import mmap
import os
import threading
import time
import weakref
from dataclasses import dataclass

from ._current import current_task
from ._flock import FileLock
from ._shareable_descriptors import OwnedDescriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Holder", "HolderDied", "RobustLock"]

_SIZE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a `RobustLock`, or held it when it died."""

    pid: int
    process: str
    """The name of the process, as in ``multiprocessing.current_process().name``."""
    task: str | None
    """The name of the task that it ran, if it was a worker."""

    def __str__(self) -> str:
        text = f"process {self.process!r} (pid {self.pid})"
        return text if self.task is None else f"{text} in task {self.task!r}"


class HolderDied(RuntimeError):
    """The process that held this lock has ended without releasing it."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder)
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"The holder of this lock, {self.holder}, ended without releasing it. What the lock guards may "
            "be half changed: call recover(), which acquires the lock, and put that right before release()."
        )


class RobustLock:
    """A lock between processes whose dead holder is noticed and named, instead of waited for.

    Pass it to tasks as an argument, or to a ``multiprocessing.Process``. Use it as a
    ``multiprocessing.Lock``: it is not re-entrant, and only the thread that holds it may release it.

    When a process ends while it holds the lock (killed, crashed, out of time), everybody who wants it gets
    `HolderDied`, at once, until somebody has called `recover`. This needs Linux.

    Every method may be called from any thread. A wait ends when a signal handler raises.
    """

    def __init__(self) -> None:
        descriptor = os.memfd_create("executor-robust-lock", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        self._open(descriptor)

    def _open(self, descriptor: int) -> None:
        global _watches_forks
        self._file = OwnedDescriptor(descriptor)
        self._record = _Record(descriptor)
        self._start_free()
        _locks[_inode(descriptor)] = self
        if not _watches_forks:
            os.register_at_fork(after_in_child=_after_fork)
            _watches_forks = True

    def _start_free(self) -> None:
        self._lock = FileLock(self._file)
        self._threads = threading.Lock()  # flock is a process's, not a thread's
        self._thread: int | None = None  # the one that holds it

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; False if it is not to be had within ``timeout`` seconds, or at once if not
        ``block``.

        Raises `HolderDied` if its last holder died, and RuntimeError where this thread would wait for itself.
        """
        if not self._take(block, timeout):
            return False
        died = self._record.read()
        if died is not None:
            self._give_back()
            raise HolderDied(died)
        self._note()
        return True

    def release(self) -> None:
        """Let the next one in. Raises RuntimeError if this thread does not hold the lock."""
        if self._thread != threading.get_ident():
            raise RuntimeError("This thread does not hold the lock")
        self._record.clear()
        self._give_back()

    def recover(self) -> Holder | None:
        """Take the lock although its holder died, and return that holder: what it left has to be put right.

        None when nobody died, or somebody else has recovered the lock before. Either way this thread holds it
        now.
        """
        self._take(True, None)
        died = self._record.read()
        self._note()
        return died

    def holder(self) -> Holder | None:
        """Who holds the lock, or held it when it died; None when it is free. May be out of date at once."""
        return self._record.read()

    def locked(self) -> bool:
        """Whether it could not be acquired now."""
        return self.holder() is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __repr__(self) -> str:
        holder = self.holder()
        return f"<RobustLock {'free' if holder is None else f'of {holder}'}>"

    def _take(self, block: bool, timeout: float | None) -> bool:
        if not block:
            timeout = 0
        if timeout is None and self._thread == threading.get_ident():
            raise RuntimeError("This thread holds the lock already, and would wait for itself")
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._threads.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return False
        try:
            taken = self._lock.acquire(None if deadline is None else deadline - time.monotonic())
        except BaseException:
            self._threads.release()
            raise
        if taken:
            self._thread = threading.get_ident()
        else:
            self._threads.release()
        return taken

    def _note(self) -> None:
        self._record.write(_myself())
        _held.add(self)

    def _give_back(self) -> None:
        _held.discard(self)
        self._thread = None
        self._lock.release()
        self._threads.release()

    def __reduce__(self) -> tuple[object, ...]:
        from multiprocessing import context, reduction

        context.assert_spawning(self)
        return _rebuild, (reduction.DupFd(self._file.fileno()),)

    def after_fork(self) -> None:
        """In a forked child: share the lock with the parent, instead of holding it together with it."""
        self._file = OwnedDescriptor(_reopen(self._file.fileno()))
        self._start_free()


# A lock that is held stays: without its last descriptor it would look like one whose holder died.
_held: set[RobustLock] = set()
_locks: weakref.WeakValueDictionary[tuple[int, int], RobustLock] = weakref.WeakValueDictionary()
_watches_forks = False


def _rebuild(copy: Any) -> RobustLock:
    descriptor = OwnedDescriptor(copy.detach())
    lock = _locks.get(_inode(descriptor.fileno()))
    if lock is None:
        lock = RobustLock.__new__(RobustLock)
        lock._open(_reopen(descriptor.fileno()))
    return lock


def _reopen(descriptor: int) -> int:
    """The same file again, with an open file description of its own, for that is what flock() goes by."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)


def _inode(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _after_fork() -> None:
    _held.clear()
    for lock in list(_locks.values()):
        lock.after_fork()


def _myself() -> Holder:
    from multiprocessing import current_process

    task = current_task()
    return Holder(os.getpid(), current_process().name, None if task is None else task.name)


class _Record:
    """Who holds the lock, on the page that all its users share. Written by who holds it."""

    def __init__(self, descriptor: int) -> None:
        # mmap keeps a copy of its descriptor, also in a forked child: not one of the description that is locked.
        file = OwnedDescriptor(_reopen(descriptor))
        self._page = mmap.mmap(file.fileno(), _SIZE)

    def read(self) -> Holder | None:
        length = int.from_bytes(self._page[:2], "little")
        if not length:
            return None
        pid, process, task = self._page[2 : 2 + length].decode(errors="replace").split("\0")
        return Holder(int(pid), process, task or None)

    def write(self, holder: Holder) -> None:
        # The names are cut, in the middle of a character perhaps, so that the record fits its page.
        names = [name.encode()[:1000] for name in (holder.process, holder.task or "")]
        text = b"\0".join([b"%d" % holder.pid, *names])
        # The length last: a holder that dies before has changed nothing yet.
        self._page[2 : 2 + len(text)] = text
        self._page[:2] = len(text).to_bytes(2, "little")

    def clear(self) -> None:
        self._page[:2] = b"\0\0"
