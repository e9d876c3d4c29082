"""`share`: one object for many tasks, pickled and copied once.

The pickle and its large buffers lie in an anonymous file (memfd). The handle is pickled as a descriptor of it, and
a task gets the object itself: mapped privately, so that the kernel copies a page only where a task writes to it, and
no task sees what another has written.
"""

from __future__ import annotations

import os
import pickle
import threading

from ._forksafety import disown, own
from ._pickling import Parcel, decode_parcel, encode
from ._shareable_descriptors import NotShareable, attach, take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Generic, Self, TypeVar

    T = TypeVar("T")
else:

    class Generic:
        def __class_getitem__(cls, item):
            return cls

    T = None

__all__ = ["Shared", "share"]


class Shared(Generic[T]):
    """A handle on an object that many tasks read. Make it with `share`; pass it as an argument, at any depth.

    A task gets the object in its place. What is shared stays in memory until the last reference to the handle has
    gone (a pending task holds one), or until `close`; then also what tasks still use is freed with their last
    reference. Any thread may use it.
    """

    def __init__(self, data: bytes, fds: list[int]) -> None:
        self._data = data
        self._fds = [own(fd) for fd in fds]
        self._owner = os.getpid()  # a forked child has closed the descriptors: their numbers may be others' there
        self._lock = threading.Lock()
        self._closed = False

    def get(self) -> T:
        """A copy of the object, as a task would get it."""
        with self._lock:
            self._check_open()
            fds = [os.dup(fd) for fd in self._fds]
        return _load(self._data, fds)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Free it now. Tasks that have it keep it; those that have not begun fail with ValueError."""
        with self._lock:
            self._closed = True
            while self._fds and self._owner == os.getpid():
                os.close(disown(self._fds.pop()))

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("what this handle shared was freed: it was closed")
        if self._owner != os.getpid():
            raise ValueError("this handle belongs to the parent process: pass it to the task as an argument")

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            self._check_open()
            return _receive, (self._data, [attach(fd) for fd in self._fds])

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
        return Shared(data, [])
    if _segments_in(data) != len(data.fds):
        data.close()
        raise NotShareable("An object that holds an open descriptor cannot be shared; it can be an argument itself.")
    return Shared(data.data, data.fds)


def _segments_in(parcel: Parcel) -> int:
    """How many of its descriptors are of its own large data: the first, where there is any."""
    _, size, _, _ = pickle.loads(parcel.data)
    return int(size is not None)


def _receive(data: bytes, indexes: list[int]) -> Any:
    return _load(data, [take(index) for index in indexes])


def _load(data: bytes, fds: list[int]) -> Any:
    return decode_parcel(data, fds) if fds else pickle.loads(data)
