"""Copying what is large. One core alone does not use all the bandwidth that the memory has, so two share the work.

They can where numpy is loaded, which most large buffers come from: its copying lets go of the GIL, an assignment does
not.
"""

from __future__ import annotations

import sys
import threading

from ._spin import cores

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

__all__ = ["copy_into"]

_WORTH_A_THREAD = 4 << 20  # bytes: it takes less to copy them than to start one
_AT_ONCE = 8 << 20  # bytes that are copied with the GIL held: other threads want to run in between


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
    half = len(source) // 2
    helper = threading.Thread(target=copyto, args=(target[half:], source[half:]), daemon=True)
    try:
        helper.start()
    except RuntimeError:  # no thread can be had
        copyto(target, source)
        return
    try:
        copyto(target[:half], source[:half])
    finally:
        helper.join()
