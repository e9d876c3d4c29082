"""Single pages of shared memory, mapped where and as long as we like.

Addresses are never given back to the kernel, only used again. The reason: ``_multiprocessing.SemLock`` ends
with sem_close(address), which does nothing for a page that glibc has not mapped; but it would close somebody
else's semaphore if sem_open() had been given the same address in the meantime.
"""

from __future__ import annotations

import ctypes
import mmap
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    FileId = tuple[int, int]  # device, inode

__all__ = ["file_at", "find_page", "free_page", "page_like", "page_of"]

_SIZE = mmap.PAGESIZE
_PROT_NONE = 0
_MAP_FIXED = 0x10
_MREMAP_MAYMOVE = 1
_MREMAP_FIXED = 2
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_mremap = _libc.mremap
_mremap.restype = ctypes.c_void_p
_mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]

_free: list[int] = []


def page_of(descriptor: int) -> int:
    """Map the first page of a file; returns its address."""
    address = _take_address()
    _checked(
        address,
        _mmap(address, _SIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED, descriptor, 0),
    )
    return address


def page_like(other: int) -> int:
    """Map the shared page that is mapped at ``other`` a second time."""
    address = _take_address()
    # An old size of 0 leaves the old page where it is.
    _checked(address, _mremap(other, 0, _SIZE, _MREMAP_MAYMOVE | _MREMAP_FIXED, address))
    return address


def free_page(address: int) -> None:
    """Let go of the page; the address is kept for the next."""
    _mmap(address, _SIZE, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED, -1, 0)
    _free.append(address)


def file_at(address: int) -> FileId | None:
    """Which file is shared through the page at this address."""
    for start, file_id in _shared_mappings():
        if start == address:
            return file_id
    return None


def find_page(file_id: FileId) -> int | None:
    """Map the first page of this file a second time, if this process has it mapped; an inherited one, say."""
    for start, found in _shared_mappings():
        if found == file_id:
            try:
                address = page_like(start)
            except OSError:  # another thread has let go of it
                continue
            if file_at(address) == file_id:
                return address
            free_page(address)
    return None


def _take_address() -> int:
    try:
        return _free.pop()
    except IndexError:
        address: int = _mmap(None, _SIZE, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if address == _FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())) from None
        return address


def _checked(address: int, result: int) -> None:
    if result == _FAILED:
        number = ctypes.get_errno()
        _free.append(address)
        raise OSError(number, os.strerror(number))


def _shared_mappings() -> Iterator[tuple[int, FileId]]:
    """Where files are mapped from their start, shared and writable, and which."""
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            if b" rw-s 00000000 " in line:
                addresses, _, _, device, inode, *_ = line.split()
                major, minor = device.split(b":")
                start = int(addresses.split(b"-")[0], 16)
                yield start, (os.makedev(int(major, 16), int(minor, 16)), int(inode))
