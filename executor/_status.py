"""The page that a worker shares with its parent, and what it keeps beside it.

    words    RUNNING   the lease that the worker began last (0: none yet), with OVER once it has come to the end of that
             STARTED   when that was (monotonic nanoseconds)
             FINISHED  how many tasks it has finished
             REVOKED   first << 32 | last: leases in this range are not to begin
             ITEM      which item of a run of map items is worked on
             CUT       lease << 32 | item: of that run, this item and those behind it are not to begin
             FILLED    how many bytes of the outcome area are valid
             SOFT      the lease whose soft time limit is reached
             SENT      how often the outcome area was sent, to be filled anew
             CLOSED    not 0 once the parent has seen the channel's end: nothing more can be sent
             SERIES    lease | first item << 32: a series of results is gathered (`_series`), 0 when there is none
             TYPE      of what type they are, a kind of record
             SINCE     when the first of its items began (monotonic nanoseconds)
    series   the results of that series
    stamps   when each of its items ended (monotonic nanoseconds), where that is asked for
    outcomes outcomes that are ready but not yet sent: what a worker that dies leaves here is not lost
    log      what faulthandler writes: the end of the file

Each word is written by one side only (REVOKED, CUT, SOFT and CLOSED by the parent, the rest by the worker), is
aligned and 64 bits wide, so that it is never seen half written. ``memoryview.cast("Q")`` stores it with one
instruction, which ``struct.pack_into`` does not.

One anonymous file (memfd) backs it all: it has no name, so nothing is left behind by any kind of death.
"""

from __future__ import annotations

import mmap
import os

from ._segments import anonymous_file

__all__ = [
    "AREA_BYTES",
    "CLOSED",
    "CUT",
    "FILLED",
    "FINISHED",
    "ITEM",
    "LOG_OFFSET",
    "LOW",
    "OVER",
    "REVOKED",
    "RUNNING",
    "SENT",
    "SERIES",
    "SERIES_BYTES",
    "SINCE",
    "SOFT",
    "STAMPS_BYTES",
    "STARTED",
    "TYPE",
    "StatusBlock",
]

RUNNING, STARTED, FINISHED, REVOKED, ITEM, CUT, FILLED, SOFT, CLOSED, SENT, SERIES, TYPE, SINCE = range(13)
OVER = 1 << 32
LOW = 0xFFFFFFFF  # the lower half of a word: a lease, where the upper is an item
_WORDS_BYTES = 4096
SERIES_BYTES = 64 * 1024
STAMPS_BYTES = 64 * 1024
_STAMPS_OFFSET = _WORDS_BYTES + SERIES_BYTES
AREA_OFFSET = _STAMPS_OFFSET + STAMPS_BYTES
AREA_BYTES = 256 * 1024
LOG_OFFSET = AREA_OFFSET + AREA_BYTES
_LOG_MOST = 64 * 1024


class StatusBlock:
    """One side's view of the page: memoryviews, and ``fd``, the file behind them."""

    __slots__ = ("_map", "area", "fd", "series", "stamps", "words")

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            fd = anonymous_file("executor-status")
            os.ftruncate(fd, LOG_OFFSET)
            os.lseek(fd, LOG_OFFSET, os.SEEK_SET)  # faulthandler writes at the file's position
        self.fd = fd
        self._map = mmap.mmap(fd, LOG_OFFSET)
        view = memoryview(self._map)
        self.words = view[:_WORDS_BYTES].cast("Q")
        self.series = view[_WORDS_BYTES:_STAMPS_OFFSET]
        self.stamps = view[_STAMPS_OFFSET:AREA_OFFSET]
        self.area = view[AREA_OFFSET:]

    def read_log(self) -> str:
        """What was written to the log since it was last cleared."""
        return os.pread(self.fd, _LOG_MOST, LOG_OFFSET).decode("utf-8", "replace")

    def clear_log(self) -> None:
        """Both sides share one file position: the next dump begins where the log begins."""
        os.lseek(self.fd, LOG_OFFSET, os.SEEK_SET)
        os.ftruncate(self.fd, LOG_OFFSET)

    def close(self) -> None:
        if self.fd >= 0:
            self.words.release()
            self.series.release()
            self.stamps.release()
            self.area.release()
            try:
                self._map.close()
            except BufferError:  # a traceback may still hold a view; the mapping goes with it
                pass
            os.close(self.fd)
            self.fd = -1
