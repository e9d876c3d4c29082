"""`share`: one object for many tasks, pickled and copied once.

The pickle and its large buffers lie in an anonymous file (memfd). The handle is pickled as a descriptor of it, and a
task gets the object itself: loaded anew for each task, over buffers that all tasks share and none can write to.

Mapping a large file costs as much as reading it, so a worker keeps what it has mapped (`Kept`): until it has been idle
for a second, or finds at its next task that the handle was closed. The file says so by its size, which any number of
workers see without a message: it is one byte longer then.
"""

from __future__ import annotations

import mmap
import os
import pickle
import threading
from itertools import count

from ._depot import depot
from ._forksafety import disown, own
from ._pickling import Parcel, encode
from ._shareable_descriptors import NotShareable, attach, take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Generic, Self, TypeVar

    from ._depot import File

    T = TypeVar("T")
else:

    class Generic:
        def __class_getitem__(cls, item):
            return cls

    T = None

__all__ = ["Shared", "kept", "share"]

_MOST_KEPT = 8
_numbers = count()


class Shared(Generic[T]):
    """A handle on an object that many tasks read. Make it with `share`; pass it as an argument, at any depth.

    A task gets the object in its place; its arrays and other large buffers are read-only there. What is shared stays in
    memory until the last reference to the handle has gone (a pending task holds one), or until `close`, and while a
    task uses it. Any thread may use it.
    """

    def __init__(self, data: bytes, fd: int = -1, source: File | None = None) -> None:
        """``source``: the file as it was written. Its mapping goes with the handle: to give it up takes long."""
        self._data = data
        self._fd = fd if fd < 0 else own(fd)
        self._source = source
        self._owner = os.getpid()  # a forked child has closed the descriptor: its number may be another's there
        self._key = self._owner, next(_numbers)
        self._lock = threading.Lock()
        self._closed = False

    def get(self) -> T:
        """The object as a task gets it."""
        with self._lock:
            self._check_open()
            return _load(self._data, self._fd, None)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Free it. Tasks that have it keep it; those that have not begun fail with ValueError."""
        with self._lock:
            self._closed = True
            if self._fd >= 0 and self._owner == os.getpid():
                os.ftruncate(self._fd, os.fstat(self._fd).st_size + 1)
                os.close(disown(self._fd))
            self._fd, self._source = -1, None

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("what this handle shared was freed: it was closed")
        if self._owner != os.getpid():
            raise ValueError("this handle belongs to the parent process: pass it to the task as an argument")

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            self._check_open()
            return _receive, (self._data, attach(self._fd) if self._fd >= 0 else None, self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Shared{' (closed)' if self._closed else ''} at {id(self):#x}>"

    def __del__(self) -> None:
        if not self._closed:
            self.close()


def share(obj: T) -> Shared[T]:
    """Pickle an object once for many tasks; arrays and other large buffers are copied once, too.

    Raises whatever its pickling raises; PicklingError for what holds an open descriptor (a lock, a socket): that is
    passed as it is.
    """
    from ._pickling import main_is_importable

    data = encode(obj, main_by_value=not main_is_importable())
    if not isinstance(data, Parcel):
        return Shared(data)
    size = pickle.loads(data.data)[1]
    if size is None or len(data.fds) != 1:
        data.close()
        raise NotShareable("An object that holds an open descriptor cannot be shared; it can be an argument itself.")
    fd = data.fds[0]
    source = depot.withdraw(fd)  # it is to go with the handle
    os.ftruncate(fd, size)  # it was perhaps written before, and larger
    return Shared(data.data, fd, source)


# In the worker


class _Kept:
    """A mapping of what was shared."""

    __slots__ = ("_fd", "size", "whole")

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size
        self.whole = memoryview(mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ))

    def is_closed(self) -> bool:
        return os.fstat(self._fd).st_size != self.size

    def __del__(self) -> None:
        os.close(self._fd)


kept: dict[tuple[int, int], _Kept] = {}  # by the handle's key, the one that was used last at the end


def release_closed() -> None:
    """Let go of what its handle has given up."""
    for key in [key for key, mapping in kept.items() if mapping.is_closed()]:
        del kept[key]


def _receive(data: bytes, index: int | None, key: tuple[int, int]) -> Any:
    return _load(data, -1 if index is None else take(index), key)


def _load(data: bytes, fd: int, key: tuple[int, int] | None) -> Any:
    """The object. Takes over ``fd`` where there is a key to keep the mapping by."""
    if fd < 0:
        return pickle.loads(data)
    rest, size, extents, _ = pickle.loads(data)
    mapping = kept.pop(key, None) if key is not None else None
    if mapping is not None:
        os.close(fd)
    else:
        mapping = _Kept(fd if key is not None else os.dup(fd), size)
    if key is not None:
        kept[key] = mapping
        while len(kept) > _MOST_KEPT:
            del kept[next(iter(kept))]
    views = [mapping.whole[offset : offset + length] for offset, length in extents]
    return pickle.loads(views.pop() if rest is None else rest, buffers=views)
