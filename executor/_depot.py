"""Anonymous files that were sent and read, kept for what is sent next.

Most of what it costs to send a large object are fresh pages: writing 64 MB to a new file takes several times as long as
writing them to one whose pages are there. So the sender keeps the last few files open for a second.

Whether nobody reads a file any more, the kernel tells. What is sent is a second open file description, with a shared
lock (flock). The reader's mapping holds it, and whatever the reader's process has forked meanwhile; the lock goes when
the last of them has unmapped it or died. The sender writes again where it gets the exclusive lock.
"""

from __future__ import annotations

import os
import threading
from time import monotonic

from ._forksafety import disown, on_fork_in_child, own

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["KEEP", "Depot", "depot"]

KEEP = 1.0  # seconds without use after which a file is given back to the system
_MOST_FILES = 8
_MOST_BYTES = 256 * 1024 * 1024  # all files together


class Depot:
    """The files of one process. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: list[tuple[int, int, float]] = []  # descriptor, size, when it was sent. The last sent at the end

    def __len__(self) -> int:
        return len(self._files)

    def take(self, size: int) -> tuple[int, int] | None:
        """A file of at least that size which nobody reads, and its size: the caller's now. None if there is none."""
        with self._lock:
            for place, (fd, there, _) in enumerate(self._files):
                if size <= there <= 4 * size and _is_read(fd):
                    del self._files[place]
                    return disown(fd), there
        return None

    def lend(self, fd: int, size: int) -> int:
        """What is to be sent of this file, which is the depot's from now on. Raises OSError where it cannot be."""
        lent = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lent, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BaseException:
            os.close(lent)
            raise
        with self._lock:
            on_fork_in_child(self)
            self._files.append((own(fd), size, monotonic()))
            while len(self._files) > _MOST_FILES or sum(size for _, size, _ in self._files) > _MOST_BYTES:
                self._close_first()
        return lent

    def release(self, unused_for: float = 0.0) -> None:
        """Give the files back to the system that were last used so many seconds ago, or longer."""
        with self._lock:
            while self._files and self._files[0][2] <= monotonic() - unused_for:
                self._close_first()

    def _close_first(self) -> None:
        os.close(disown(self._files.pop(0)[0]))

    def after_fork_in_child(self) -> None:
        """The files are the parent's, and closed here already."""
        self._lock = threading.Lock()
        self._files = []


def _is_read(fd: int) -> bool:
    """Whether nobody maps, or is about to map, what was sent of this file."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


depot = Depot()
