"""How calls and outcomes become bytes, and descriptors beside them.

C pickle first. Where it fails, or would be wrong, a pickler built on cloudpickle that also knows how to pass what
only travels as a descriptor (`_shareable`). Large buffers and large pickles do not go through the socket: they
lie in an anonymous file (memfd) whose descriptor is passed, and the receiver maps it privately.

``encode`` gives ``bytes`` in the common case and a `Parcel` where something lies beside them.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from types import FunctionType

from ._named import load_named, pickle_named
from ._segments import Segment, map_segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "NUMBERS",
    "PLAIN",
    "SEGMENT_MIN",
    "Parcel",
    "decode",
    "decode_call",
    "decode_parcel",
    "encode",
    "encode_call",
    "main_is_importable",
]

NUMBERS = frozenset((int, float, bool, type(None)))
PLAIN = NUMBERS | {str, bytes}  # values that pickle alone can do, and nobody can change
_WORDS = NUMBERS | {str}
SEGMENT_MIN = 128 * 1024  # bytes: below it a segment costs more than the copies through the socket

# Held while a thread imports what a worker may need too: a worker that was forked meanwhile would wait for ever for
# the lock of the module. Forking takes it; see `Worker.start`.
import_lock = threading.Lock()

Loads = pickle.loads


class Parcel:
    """A payload with descriptors beside it: the segment's, if any, first. Whoever sends it closes them."""

    __slots__ = ("data", "fds")

    def __init__(self, data: bytes, fds: list[int]) -> None:
        self.data = data
        self.fds = fds

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def main_is_importable() -> bool:
    """Whether a worker that imports the main module finds there what is defined there now."""
    main = sys.modules.get("__main__")
    if main is None or hasattr(sys, "ps1") or sys.flags.interactive:
        return False
    if getattr(main, "__spec__", None) is not None:
        return True
    path = getattr(main, "__file__", None)
    return path is not None and os.path.exists(path) and "ipykernel" not in sys.modules


def encode(obj: object, *, main_by_value: bool | None = None, by_value: str = "all") -> bytes | Parcel:
    """Pickle ``obj``; raises whatever its pickling raises (of any type).

    ``main_by_value``: whether what the main module defines is to be sent whole; None where the reader is no worker.
    ``by_value``: which functions and classes may travel by value where they cannot be found by their names: "all",
    "main" (those that the main module defines) or "none".
    """
    if type(obj) is str or (type(obj) is tuple and _WORDS.issuperset(map(type, obj))):  # nothing in it to look for
        data = pickle.dumps(obj, 5)
        return data if len(data) < SEGMENT_MIN else _pack(data, [], [], None)
    buffers: list[pickle.PickleBuffer] = []
    fds: list[int] = []
    descriptors = sys.modules.get("executor._shareable_descriptors")  # there before any handle of `share`
    try:
        if descriptors is None:
            data = pickle.dumps(obj, 5, buffer_callback=buffers.append)
        else:
            data, fds = descriptors.dump_plain(obj, buffers.append)
    except (KeyboardInterrupt, RecursionError):
        raise
    except BaseException as plain:
        return _encode_slowly(obj, plain, main_by_value, by_value)
    if b"multiprocessing" in data or (main_by_value and b"__main__" in data):
        if descriptors is not None:
            descriptors.close_all(fds)
        return _encode_slowly(obj, None, main_by_value, by_value)
    if fds:
        return _pack(data, buffers, fds, None)
    if buffers or len(data) >= SEGMENT_MIN:
        return _pack(data, buffers, [], lambda: pickle.dumps(obj, 5))
    return data


def encode_call(
    call: tuple[Any, tuple[Any, ...], dict[str, Any]], *, main_by_value: bool
) -> tuple[bytes | tuple[bytes, bytes], list[int] | None]:
    """The payload of (fn, args, kwargs) (`_messages`), and the descriptors beside it, None where it is no parcel."""
    fn, args, kwargs = call
    name = pickle_named(fn) if type(fn) is FunctionType else None
    if name is None or (main_by_value and b"__main__" in name):
        data = encode(call, main_by_value=main_by_value)
        return (data, None) if isinstance(data, bytes) else (data.data, data.fds)
    if not kwargs and PLAIN.issuperset(map(type, args)):
        plain = pickle.dumps((args, kwargs), 5)
        if len(plain) < SEGMENT_MIN:
            return (name, plain), None
    data = encode((args, kwargs), main_by_value=main_by_value)
    return ((name, data), None) if isinstance(data, bytes) else ((name, data.data), data.fds)


def decode_call(payload: bytes | tuple[bytes, bytes], fds: list[int] | None) -> tuple[Any, Any, Any]:
    """(fn, args, kwargs); takes over ``fds``, None where it is no parcel. Raises whatever loading raises."""
    if isinstance(payload, tuple):
        name, data = payload
        args, kwargs = Loads(data) if fds is None else decode_parcel(data, fds)
        return load_named(name), args, kwargs
    call: tuple[Any, Any, Any] = Loads(payload) if fds is None else decode_parcel(payload, fds)
    return call


def _encode_slowly(
    obj: object, plain: BaseException | None, main_by_value: bool | None, by_value: str
) -> bytes | Parcel:
    with import_lock:
        from . import _pickler  # cloudpickle takes 50 ms to import

    buffers: list[pickle.PickleBuffer] = []
    data, fds = _pickler.dumps(obj, plain, buffers.append, main_by_value, by_value)
    if fds or buffers or len(data) >= SEGMENT_MIN:
        return _pack(data, buffers, fds, None)
    return data


def _pack(
    data: bytes, buffers: list[pickle.PickleBuffer], fds: list[int], in_band: Callable[[], bytes] | None
) -> bytes | Parcel:
    views = [buffer.raw() for buffer in buffers]
    size = sum(view.nbytes for view in views)
    if in_band is not None and size < SEGMENT_MIN and len(data) < SEGMENT_MIN:
        return in_band()
    parts: list[bytes | memoryview] = list(views)
    large = len(data) >= SEGMENT_MIN
    if large:
        parts.append(data)
    try:
        segment = Segment.of(parts) if size + len(data) * large >= SEGMENT_MIN else None
    except OSError:  # no descriptors or no memory file left: the socket can carry it too
        segment = None
    writable = [not view.readonly for view in views]
    if segment is None:
        inline = [bytes(view) for view in views]
        return Parcel(pickle.dumps((data, None, inline, writable)), fds)
    rest = None if large else data
    return Parcel(pickle.dumps((rest, segment.size, segment.extents, writable)), [segment.fd, *fds])


def decode(data: bytes | memoryview) -> Any:
    """Load what `encode` gave as bytes; raises whatever loading raises (of any type)."""
    return Loads(data)


def decode_parcel(data: bytes | memoryview, fds: list[int]) -> Any:
    """Load a parcel; takes over ``fds``."""
    try:
        rest, size, extents, writable = Loads(data)
        if size is None:
            views: list[memoryview] = [
                memoryview(bytearray(part) if free else part) for part, free in zip(extents, writable, strict=True)
            ]
        else:
            segment = fds.pop(0)
            views = map_segment(segment, size, extents)
            if rest is None:
                rest = views.pop()
            views = [view if free else view.toreadonly() for view, free in zip(views, writable, strict=True)]
        if not fds:
            return Loads(rest, buffers=views)
        from ._shareable_descriptors import providing

        with providing(fds):
            return Loads(rest, buffers=views)
    finally:
        for fd in fds:
            os.close(fd)
