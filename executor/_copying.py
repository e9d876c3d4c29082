"""Copying what is large. One core alone does not use all the bandwidth that the memory has, so two share the work.

They can where numpy is loaded, which most large buffers come from: its copying lets go of the GIL, an assignment does
not.
"""

from __future__ import annotations

import os
import sys
import threading

from ._spin import cores

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from typing import Any

__all__ = ["copy_into"]

_WORTH_A_THREAD = 4 << 20  # bytes: it takes less to copy them than to start one
_AT_ONCE = 8 << 20  # bytes that are copied with the GIL held: other threads want to run in between
_PIECE = 4 << 20  # bytes that one of two threads takes at a time: the other core may have something else to do as well


def copy_into(mapping: mmap.mmap, offset: int, source: memoryview) -> None:
    """Write ``source``, of bytes, into the mapping."""
    numpy: Any = sys.modules.get("numpy")
    if len(source) >= _WORTH_A_THREAD and hasattr(numpy, "copyto") and cores() > 1:
        target = numpy.frombuffer(mapping, numpy.uint8, len(source), offset)
        _copy_side_by_side(numpy.copyto, target, numpy.frombuffer(source, numpy.uint8))
        return
    for start in range(0, len(source), _AT_ONCE):
        piece = source[start : start + _AT_ONCE]
        mapping[offset + start : offset + start + len(piece)] = piece


def _copy_side_by_side(copyto: Any, target: Any, source: Any) -> None:
    starts = iter(range(0, len(source), _PIECE))

    def copy() -> None:
        for start in starts:  # whichever thread comes first takes the next
            copyto(target[start : start + _PIECE], source[start : start + _PIECE])

    helper = threading.Thread(target=_run_elsewhere, args=(copy, threading.get_native_id()), daemon=True)
    try:
        helper.start()
    except RuntimeError:  # no thread can be had
        copy()
        return
    try:
        copy()
    finally:
        helper.join()


def _run_elsewhere(function: Callable[[], None], thread: int) -> None:
    """Call it on another core than that thread's. The kernel leaves a new thread where it was made, for milliseconds,
    if the other cores are busy at that moment.
    """
    try:
        others = os.sched_getaffinity(0) - {_core_of(thread)}
        if others:
            os.sched_setaffinity(0, others)  # this thread's own, which ends soon
    except (OSError, AttributeError):  # elsewhere than on Linux
        pass
    function()


def _core_of(thread: int) -> int:
    with open(f"/proc/self/task/{thread}/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()  # from the third on, by proc(5)
    return int(fields[39 - 3])
