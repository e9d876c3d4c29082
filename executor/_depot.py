"""Anonymous files that were sent and read, kept for what is sent next.

Most of what it costs to send a large object are fresh pages: writing 64 MB to a new file takes several times as long as
writing them to one whose pages are there. So the sender keeps the last few files open for a second.

Whether nobody reads a file any more, the kernel tells. What is sent is a second open file description, with a shared
lock (flock). The reader's mapping holds it, and whatever the reader's process has forked meanwhile; the lock goes when
the last of them has unmapped it or died. The sender writes again where it gets the exclusive lock.
"""

from __future__ import annotations

import mmap
import os
import threading
from time import monotonic

from ._copying import copy_into
from ._forksafety import disown, on_fork_in_child, own

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["KEEP", "Depot", "File", "depot", "write"]

_ALL_PAGES_AT_ONCE = getattr(mmap, "MAP_SHARED", 0) | getattr(mmap, "MAP_POPULATE", 0)
KEEP = 1.0  # seconds without use after which a file is given back to the system
_MOST_FILES = 8
_MOST_BYTES = 256 * 1024 * 1024  # all files together


class File:
    """One that has its pages: it is written through a mapping that stays, several times as fast as by system calls."""

    __slots__ = ("__weakref__", "_mapping", "fd", "sent_at", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = own(fd)
        self.size = size
        self.sent_at = 0.0
        self._mapping: mmap.mmap | None = None

    def write(self, part: bytes | memoryview, offset: int) -> None:
        if not depot.maps:
            write(self.fd, part, offset)
            return
        if self._mapping is None:
            on_fork_in_child(self)
            self._mapping = mmap.mmap(self.fd, self.size, flags=_ALL_PAGES_AT_ONCE)
        copy_into(self._mapping, offset, memoryview(part).cast("B"))

    def is_read(self) -> bool:
        """Whether nobody maps, or is about to map, what was sent of it."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        return True

    def detach(self) -> int:
        """Its descriptor, which is the caller's now."""
        self._mapping = None  # not closed: where Ctrl-C came twice, a thread may still write to it
        return disown(self.fd)

    def close(self) -> None:
        os.close(self.detach())

    def after_fork_in_child(self) -> None:
        """The descriptor is closed here already; a mapping that stayed would keep the memory."""
        self._mapping = None


class Depot:
    """The files of one process. Any thread."""

    def __init__(self) -> None:
        self.maps = True  # not where the memory of this process is watched: a mapping would count
        self._lock = threading.Lock()
        self._files: list[File] = []  # the last sent at the end

    def __len__(self) -> int:
        return len(self._files)

    def take(self, size: int) -> File | None:
        """A file of at least that size which nobody reads: the caller's now. None if there is none."""
        with self._lock:
            for place, file in enumerate(self._files):
                if size <= file.size <= 4 * size and file.is_read():
                    return self._files.pop(place)
        return None

    def lend(self, file: File) -> int:
        """What is to be sent of this file, which is the depot's from now on. Raises OSError where it cannot be."""
        lent = os.open(f"/proc/self/fd/{file.fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lent, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BaseException:
            os.close(lent)
            raise
        file.sent_at = monotonic()
        with self._lock:
            on_fork_in_child(self)
            self._files.append(file)
            while len(self._files) > _MOST_FILES or sum(file.size for file in self._files) > _MOST_BYTES:
                self._files.pop(0).close()
        return lent

    def withdraw(self, lent: int) -> File | None:
        """Keep the file no longer that this descriptor is of: nothing else is to be written into it. What is returned
        is its mapping's owner: to give up a mapping takes long, and is the caller's to time.
        """
        with self._lock:
            for place, file in enumerate(self._files):
                if os.path.sameopenfile(file.fd, lent):
                    os.close(disown(file.fd))
                    return self._files.pop(place)
        return None

    def release(self, unused_for: float = 0.0) -> None:
        """Give the files back to the system that were last used so many seconds ago, or longer."""
        with self._lock:
            while self._files and self._files[0].sent_at <= monotonic() - unused_for:
                self._files.pop(0).close()

    def after_fork_in_child(self) -> None:
        """The files are the parent's."""
        self._lock = threading.Lock()
        self._files = []


def write(fd: int, part: bytes | memoryview, offset: int) -> None:
    """Write all of it, pages that are not there yet included."""
    view = memoryview(part).cast("B")
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


depot = Depot()
