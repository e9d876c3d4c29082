"""What a worker says: outcomes, log records, notes.

They lie in shared memory, behind the status page, until they are sent: what a worker that dies has put there is not
lost. One frame at a time goes out; it is made of what has gathered meanwhile.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import deque

from ._channel import FRAME_HEADER, WorkerChannel
from ._messages import HEADER, Kind, pad, record
from ._pickling import Parcel
from ._status import AREA_BYTES, CLOSED, FILLED, ITEM, OVER, RUNNING, SENT, StatusBlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["EXIT_CHANNEL_LOST", "Outcomes"]

EXIT_CHANNEL_LOST = 75
_FIRST = FRAME_HEADER.size  # the outcome area begins with room for the header of the frame it is sent as
_LOG_BYTES = AREA_BYTES - 64 * 1024  # how much of the area log records may fill
_ALL_SIGNALS = signal.valid_signals()


class Outcomes:
    """The outcome area and the way out. Any thread may put log records and notes; the rest is for the main thread."""

    def __init__(self, channel: WorkerChannel, block: StatusBlock) -> None:
        self.forked = False  # this is a child that a task has forked: it says nothing
        self.late: deque[bytes] = deque()  # log records that came in the middle of a put
        self._channel = channel
        self._words, self._area = block.words, block.area
        self._words[FILLED] = _FIRST
        self._lock = threading.RLock()
        self._fill = _FIRST  # guarded by _lock: bytes of the area in use
        self._logs = 0  # the same: how many log records were put
        self._deaf = False  # the same: nothing more can be sent

    def put(self, lease: int, kind: int, data: bytes | Parcel, started: int = 0, duration: int = 0) -> None:
        """Put a record where the parent finds it even if this process dies next."""
        with self._lock:
            if isinstance(data, Parcel):
                self._send_parcel(lease, kind, data, started, duration)
                return
            size = len(data)
            at = self._fill
            end = at + 32 + pad(size)
            if end > AREA_BYTES:
                self.flush()
                at = _FIRST
                end = at + 32 + pad(size)
                if end > AREA_BYTES:
                    head = HEADER.pack(lease, kind | size << 8, started, duration)
                    self._send([head, data, bytes(pad(size) - size)], ())
                    return
            area = self._area
            HEADER.pack_into(area, at, lease, kind | size << 8, started, duration)
            area[at + 32 : at + 32 + size] = data
            self._fill = end
            self._words[FILLED] = end

    def _send_parcel(self, lease: int, kind: int, parcel: Parcel, started: int, duration: int) -> None:
        self.flush()
        size = len(parcel.data)
        head = HEADER.pack(lease, kind | Kind.PARCEL | size << 8, started, duration)
        self._send([head, parcel.data, bytes(pad(size) - size)], parcel.fds)
        parcel.close()

    def flush(self) -> None:
        """Send what is in the area. It stays readable there until it is sent."""
        with self._lock:
            if self._fill != _FIRST and not self._send_area():  # the parent finds the rest in the area
                os._exit(EXIT_CHANNEL_LOST)

    def _send_area(self) -> bool:
        """False: the parent has gone, or a task closed our descriptor. With the lock."""
        fill = self._fill
        if self._words[CLOSED] or self._deaf:
            return False
        if fill == _FIRST:
            return True
        FRAME_HEADER.pack_into(self._area, 0, fill - _FIRST, 0)
        try:
            self._channel.send_bytes(self._area[:fill])
        except OSError:
            self._deaf = True
            return False
        self._words[SENT] += 1  # before anything is written over what the parent may be copying
        self._fill = _FIRST
        self._words[FILLED] = _FIRST
        return True

    # --- log records --------------------------------------------------------------------------------------

    def put_log(self, data: bytes) -> None:
        """Put a log record where the parent finds it, and send it if that is possible. Any thread.

        Unlike an outcome it may come in the middle of a task, which is not to end because nothing can be sent.
        """
        if self.forked:
            return
        if self._lock._is_owned():  # type: ignore[attr-defined]  # not in typeshed
            self.late.append(data)  # from a signal's handler or the garbage collector, between two writes of a put
            return
        # A handler that raises out of the middle of a send would leave half a frame behind.
        before = _sigmask(signal.SIG_BLOCK, ())
        try:
            _sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
            with self._lock:
                while self.late:
                    self._put_one_log(self.late.popleft())
                self._put_one_log(data)
                self._send_area()
        finally:
            _sigmask(signal.SIG_SETMASK, before)

    def _put_one_log(self, data: bytes) -> None:
        need = 32 + pad(len(data))
        if self._fill + need > _LOG_BYTES and not self._send_area():
            return  # neither room nor a way out: the rest of the area is for the outcome of the task
        self._logs += 1
        if _FIRST + need <= AREA_BYTES:
            self.put(0, Kind.LOG, data, self._logs)
            return
        head = HEADER.pack(0, Kind.LOG | len(data) << 8, self._logs, 0)
        try:
            self._channel.send([head, data, bytes(pad(len(data)) - len(data))])
        except OSError:
            self._deaf = True

    def place(self) -> tuple[int, int]:
        """The lease that runs, 0 between two, and its item."""
        running = self._words[RUNNING]
        return 0 if running & OVER else running, self._words[ITEM]

    def send_note(self, tag: str, *facts: Any) -> None:
        """Tell the parent something of the running task. Any thread. One that cannot be sent now is left out."""
        lease, item = self.place()
        if not lease or self.forked or self._lock._is_owned():  # type: ignore[attr-defined]  # not in typeshed
            return
        body = record(Kind.NOTE, pickle.dumps((tag, lease, item, *facts), 5))
        with self._lock:
            if not self._words[CLOSED]:
                try:
                    # Past the outcome area, where nothing is written while a task runs. So small a frame is sent whole
                    # or not at all, whatever a signal's handler raises.
                    self._channel.send_bytes(FRAME_HEADER.pack(len(body), 0) + body)
                except OSError:
                    pass

    def _send(self, parts: list[bytes], fds: list[int] | tuple[int, ...]) -> None:
        if self._words[CLOSED]:
            os._exit(EXIT_CHANNEL_LOST)
        try:
            self._channel.send(parts, fds)
        except OSError:
            os._exit(EXIT_CHANNEL_LOST)


def _sigmask(how: int, signals: Any) -> Any:
    """As signal.pthread_sigmask, which makes an enum of each signal and takes ten times as long."""
    import _signal  # type: ignore[import-not-found]  # not in typeshed

    return _signal.pthread_sigmask(how, signals)
