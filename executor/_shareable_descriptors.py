"""File descriptors inside a pickle.

A payload crosses a Unix socket, so it may bring descriptors along. While a payload is made, `attach` puts a
copy of a descriptor into the list that travels beside it and returns its index, which is what goes into the
pickle. While the payload is loaded, `take` returns the descriptor that arrived at that index.

multiprocessing has a place for this: its reducers ask for "the process that is being started" and hand it
their descriptors. `collecting` stands in that place, so every class that multiprocessing can send to a
process which is just starting (those of other packages that build on it too) can be sent to one that has long
been running.
"""

from __future__ import annotations

import io
import os
import pickle
import threading
from contextlib import contextmanager
from multiprocessing import context
from pickle import PicklingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = [
    "NotShareable",
    "OwnedDescriptor",
    "attach",
    "attach_own",
    "close_all",
    "collecting",
    "dump_collecting",
    "dump_plain",
    "providing",
    "take",
]


class NotShareable(PicklingError):
    """This object cannot be given to another process in the state, the place or the way that it is now."""


_receiving = threading.local()
_sending = threading.local()


@contextmanager
def collecting() -> Iterator[list[int]]:
    """Collect the descriptors of the payload that this thread pickles inside the block.

    The list and what is in it belong to the caller from the start, also when the block raises.
    """
    outgoing: Any = _Outgoing()
    previous: Any = context.get_spawning_popen()
    context.set_spawning_popen(outgoing)
    try:
        yield outgoing.descriptors
    finally:
        context.set_spawning_popen(previous)


def dump_collecting(make: Callable[[io.BytesIO], pickle.Pickler], obj: object) -> tuple[bytes, list[int]]:
    """The pickle that the pickler writes, and the descriptors beside it: the caller's to close."""
    file = io.BytesIO()
    with collecting() as fds:
        try:
            make(file).dump(obj)
        except BaseException:
            close_all(fds)
            raise
    return file.getvalue(), list(fds)


def dump_plain(obj: object, buffer_callback: Callable[[pickle.PickleBuffer], object]) -> tuple[bytes, list[int]]:
    """As pickle alone does it: only classes that call `attach` themselves can bring descriptors, none of
    multiprocessing's.
    """
    previous = getattr(_sending, "outgoing", None)
    outgoing = _sending.outgoing = _Outgoing()
    try:
        return pickle.dumps(obj, 5, buffer_callback=buffer_callback), outgoing.descriptors
    except BaseException:
        close_all(outgoing.descriptors)
        raise
    finally:
        _sending.outgoing = previous


@contextmanager
def providing(descriptors: list[int]) -> Iterator[None]:
    """Let the payload that this thread loads inside the block take these descriptors.

    Those that it leaves are closed, and the list is emptied.
    """
    previous = getattr(_receiving, "descriptors", None)
    _receiving.descriptors = descriptors
    try:
        yield
    finally:
        _receiving.descriptors = previous
        close_all(descriptors)


def attach(descriptor: int) -> int:
    """Send a copy of ``descriptor`` with the payload that is being made; returns its index for `take`."""
    return _current().duplicate_for_child(descriptor)


def attach_own(make: Callable[[], int]) -> int:
    """Send the descriptor that ``make`` returns, and keep none: it is closed here once it has been sent."""
    outgoing = _current()  # first, so that nothing is made that nobody would close
    return outgoing.adopt(make())


def take(index: int) -> int:
    """The descriptor that arrived at ``index`` of the payload that is being loaded. The caller closes it."""
    descriptors: list[int] | None = getattr(_receiving, "descriptors", None)
    if descriptors is None or not 0 <= index < len(descriptors) or descriptors[index] < 0:
        raise NotShareable("A pickle that speaks of an open descriptor can be loaded once, on arrival in a process.")
    descriptor, descriptors[index] = descriptors[index], -1
    return descriptor


def close_all(descriptors: list[int]) -> None:
    """Close every descriptor in the list, and empty it."""
    while descriptors:
        descriptor = descriptors.pop()
        if descriptor >= 0:
            os.close(descriptor)


class OwnedDescriptor:
    """A descriptor that is closed with the last reference to this object. Pickles as a copy of it."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def detach(self) -> int:
        """Give the descriptor to the caller. multiprocessing's rebuilding functions call this."""
        number, self._number = self._number, -1
        return number

    def __reduce__(self) -> tuple[object, ...]:
        return _take_owned, (attach(self._number),)

    # A default argument, because the globals of a module may be gone when the interpreter ends.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self._number >= 0:
            close(self._number)


def _take_owned(index: int) -> OwnedDescriptor:
    return OwnedDescriptor(take(index))


class _Attached:
    """What multiprocessing's reducers put into a pickle for a descriptor; an `OwnedDescriptor` on arrival."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __reduce__(self) -> tuple[object, ...]:
        return _take_owned, (self._index,)


class _Outgoing:
    """Has what multiprocessing's reducers look for in the process that is being started."""

    DupFd = _Attached

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def duplicate_for_child(self, descriptor: int) -> int:
        return self.adopt(os.dup(descriptor))

    def adopt(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return len(self.descriptors) - 1


def _current() -> _Outgoing:
    outgoing: Any = context.get_spawning_popen() or getattr(_sending, "outgoing", None)
    if not isinstance(outgoing, _Outgoing):
        raise NotShareable("An open descriptor can only be pickled on its way to a worker or back.")
    return outgoing
