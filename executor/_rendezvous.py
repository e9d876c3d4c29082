"""Where programs that are monitored and those that look at them meet: a directory that only its owner can open.

Each program has a Unix socket there, named by its pid. Both ends check owner and mode of the directory, on the open
descriptor; sockets are reached through it, so that nothing can be exchanged in between and no path is too long.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import tempfile
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["bind", "connect", "directory", "opened", "programs", "remove"]

_NAME = re.compile(r"(\d+)\.sock|\.(\d+)\.new")


def directory() -> str:
    """``executor`` in XDG_RUNTIME_DIR; without that, ``executor-UID`` in the directory for temporary files."""
    own = os.environ.get("XDG_RUNTIME_DIR")
    if own:
        return os.path.join(own, "executor")
    return os.path.join(tempfile.gettempdir(), f"executor-{os.geteuid()}")


@contextmanager
def opened(*, create: bool = False) -> Iterator[int]:
    """A descriptor of the directory. Raises FileNotFoundError, and PermissionError where others could open it too."""
    path = directory()
    if create:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:
        raise PermissionError(f"{path} is not a directory") from None
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(f"{path} can be opened by others: its mode is to be 0700")
        yield fd
    finally:
        os.close(fd)


def programs() -> list[int]:
    """The pids of the programs that are monitored. Removes what dead ones have left. Raises PermissionError."""
    try:
        with opened() as fd:
            _clean(fd)
            return sorted(int(match[1]) for match in map(_NAME.fullmatch, os.listdir(fd)) if match and match[1])
    except FileNotFoundError:
        return []


def bind(pid: int) -> socket.socket:
    """The socket of this program, listening. Removes what dead programs have left. Raises OSError."""
    with opened(create=True) as fd:
        _clean(fd)
        new = f".{pid}.new"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _unlink(fd, new)
            listener.bind(_path(fd, new))
            listener.listen()
            # Only now under its name: one that does not listen yet would be taken for a dead program's.
            os.rename(new, f"{pid}.sock", src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            listener.close()
            raise
        return listener


def connect(pid: int) -> socket.socket:
    """A connection to that program. Raises OSError: FileNotFoundError where it has no socket."""
    with opened() as fd:
        return _connect(fd, f"{pid}.sock")


def remove(pid: int) -> None:
    """Take the socket of a program away."""
    try:
        with opened() as fd:
            _unlink(fd, f"{pid}.sock")
    except OSError:  # the directory has gone, or is no longer ours
        pass


def _clean(fd: int) -> None:
    for match in map(_NAME.fullmatch, os.listdir(fd)):
        if match is None:
            continue
        if match[2]:
            if not os.path.exists(f"/proc/{match[2]}"):
                _unlink(fd, match[0])
            continue
        try:
            _connect(fd, match[0]).close()
        except ConnectionRefusedError:  # nobody listens: it was killed
            _unlink(fd, match[0])
        except OSError:  # it has just gone, or its queue is full
            pass


def _connect(fd: int, name: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    try:
        sock.connect(_path(fd, name))
    except BaseException:
        sock.close()
        raise
    return sock


def _path(fd: int, name: str) -> str:
    return f"/proc/self/fd/{fd}/{name}"


def _unlink(fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        pass
