"""Standard output and error of a worker: whole lines, each in one write, and nothing of the parent's buffers.

A line that has no end yet is kept, for each thread by itself, until its end comes, or a flush, or the worker's end.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["write_whole_lines"]

_replaced: list[Any] = []  # kept: one that is collected writes out what it has inherited


def write_whole_lines(*, forked: bool) -> None:
    """Replace the two streams, where they are files of the usual kind. ``forked``: what they hold is the parent's."""
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        if not isinstance(old, io.TextIOWrapper):
            continue
        try:
            lines = _Lines(old.fileno(), getattr(old, "name", f"<{name}>"))
            if not forked:
                old.flush()
        except (OSError, ValueError):  # closed
            continue
        new = io.TextIOWrapper(lines, encoding=old.encoding, errors=old.errors, write_through=True)
        new.mode = "w"  # type: ignore[misc]  # as the interpreter does
        _replaced.append(old)
        setattr(sys, name, new)
        if getattr(sys, f"__{name}__") is old:
            setattr(sys, f"__{name}__", new)


class _Lines(io.RawIOBase):
    """What a text stream writes its bytes to."""

    mode = "wb"

    def __init__(self, fd: int, name: Any) -> None:
        self.name = name
        self._fd = fd
        self._lock = threading.RLock()
        self._begun: dict[int, bytes] = {}  # by thread: the beginning of its line. Guarded by _lock
        # Larger writes to a pipe may be cut by the kernel: each line is to have one of its own.
        self._most = select.PIPE_BUF if stat.S_ISFIFO(os.fstat(fd).st_mode) else 1 << 30
        os.register_at_fork(after_in_child=self._forget)

    def write(self, data: Any) -> int:
        data = bytes(data)
        end = data.rfind(b"\n") + 1
        me = threading.get_ident()
        with self._lock:
            if end:
                self._write_out(self._begun.pop(me, b"") + data[:end])
            if end < len(data):
                self._begun[me] = self._begun.get(me, b"") + data[end:]
        return len(data)

    def flush(self) -> None:
        """Write out what the calling thread has begun, and threads that have ended."""
        super().flush()
        if not self._begun:
            return
        with self._lock:
            others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
            for thread in [thread for thread in self._begun if thread not in others]:
                self._write_out(self._begun.pop(thread))

    def _write_out(self, data: bytes) -> None:
        while len(data) > self._most:
            end = data.rfind(b"\n", 0, self._most) + 1 or data.find(b"\n") + 1 or len(data)
            _write_all(self._fd, data[:end])
            data = data[end:]
        _write_all(self._fd, data)

    def _forget(self) -> None:
        """In a child that a task has forked: the lines that were begun are its parent's."""
        self._lock = threading.RLock()
        self._begun = {}

    @property
    def raw(self) -> io.RawIOBase:
        return self

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody has made the file non-blocking, for all that share it
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            poller.poll()
