"""Large data beside the channel: an anonymous file whose descriptor is passed and which is mapped privately."""

from __future__ import annotations

import mmap
import os

from ._depot import File, depot, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Segment", "anonymous_file", "map_segment"]

_ALIGN = 64  # bytes: what numpy and the vector units like


class Segment:
    """Written once by the sender. ``extents`` tells where each part lies: (offset, length)."""

    __slots__ = ("extents", "fd", "size")

    def __init__(self, fd: int, extents: list[tuple[int, int]], size: int) -> None:
        self.fd = fd
        self.extents = extents
        self.size = size

    @classmethod
    def of(cls, parts: Sequence[bytes | memoryview]) -> Segment:
        """A segment that holds ``parts``; raises OSError where there is no room for it."""
        extents = []
        at = 0
        for part in parts:
            extents.append((at, len(part)))
            at += (len(part) + _ALIGN - 1) & -_ALIGN
        size = max(at, 1)
        file = depot.take(size)
        if file is None:
            file = _new_file(parts, extents, size)
        else:
            try:
                for part, (offset, _) in zip(parts, extents, strict=True):
                    file.write(part, offset)
            except BaseException:
                file.close()
                raise
        try:
            lent = depot.lend(file)
        except OSError:  # no /proc, no descriptor left: it is sent itself, and not kept
            lent = file.detach()
        return cls(lent, extents, size)


def anonymous_file(name: str) -> int:
    """The descriptor of a new file without a path; ``name`` is for whoever looks at /proc."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    import tempfile  # takes long to import

    with tempfile.TemporaryFile() as file:  # elsewhere than on Linux
        return os.dup(file.fileno())


def _new_file(parts: Sequence[bytes | memoryview], extents: list[tuple[int, int]], size: int) -> File:
    fd = anonymous_file("executor-segment")
    try:
        for part, (offset, _) in zip(parts, extents, strict=True):
            write(fd, part, offset)
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return File(fd, size)


def map_segment(fd: int, size: int, extents: Sequence[tuple[int, int]]) -> list[memoryview]:
    """The parts of a segment, writable, as private copies that the kernel makes page by page. Closes ``fd``."""
    try:
        whole = memoryview(mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE))
    finally:
        os.close(fd)
    return [whole[offset : offset + length] for offset, length in extents]
