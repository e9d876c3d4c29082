"""Framed messages over one Unix stream socket.

    frame:  length of body (8 bytes), number of descriptors (8 bytes), body

The parent's end never blocks: what the kernel does not take waits in the outbox, so that one stopped worker
holds up nobody. The worker's end blocks in both directions.

The parent's end may be used by the main thread, where KeyboardInterrupt can strike between any two bytecodes.
Bytes that were read or written must not be lost to it, or the stream would be garbage from there on. So each
system call stores its result within one C call (``deque.extend(map(...))``), and the state that depends on the
result is replaced by plain assignments without a call between them, where CPython does not look for signals.
"""

from __future__ import annotations

import array
import os
import select
import socket
from collections import deque
from struct import Struct

from ._spin import Spin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Frame = tuple[bytes | memoryview, list[int]]

__all__ = ["FRAME_HEADER", "MAX_DESCRIPTORS", "Channel", "WorkerChannel", "close_all"]

FRAME_HEADER = Struct("=QQ")
MAX_DESCRIPTORS = 200  # the kernel takes at most 253 with one message
_CHUNK = 64 * 1024
_MOST_CHUNKS = 64  # many times what a socket's buffers hold
_ANCILLARY = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
_RECEIVE_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def _rights(fds: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that will not be sent, or were."""
    for fd in fds:
        os.close(fd)


class _Parser:
    """Cuts what arrived into frames."""

    __slots__ = ("_data", "_fds", "complete")

    def __init__(self) -> None:
        self._data: list[bytes] = []  # chunks of a frame that is not complete yet
        self._fds: list[int] = []
        self.complete: deque[Frame] = deque()  # whoever handles a frame takes it off afterwards

    def add(self, data: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> None:
        for _, kind, raw in ancillary:
            if kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
                self._fds.extend(fds)
        self._data.append(data)

    def parse(self) -> None:
        """Move what is complete to ``complete``."""
        if not self._data:
            return
        if len(self._data) == 1 and not self._fds and self._is_one_frame(self._data[0]):
            complete = self.complete.copy()
            complete.append((memoryview(self._data[0])[16:], []))
            self.complete, self._data = complete, []
            return
        size = sum(map(len, self._data))
        if size < 16 or size < 16 + FRAME_HEADER.unpack_from(self._head())[0]:
            return  # a large frame is joined once, when its last byte is here
        data = memoryview(b"".join(self._data) if len(self._data) > 1 else self._data[0])
        complete = self.complete.copy()
        fds = self._fds
        at = 0
        while size - at >= 16:
            length, count = FRAME_HEADER.unpack_from(data, at)
            if size - at - 16 < length:
                break
            complete.append((data[at + 16 : at + 16 + length], fds[:count]))
            fds = fds[count:]
            at += 16 + length
        rest = [bytes(data[at:])] if at < size else []
        self.complete, self._data, self._fds = complete, rest, fds  # in one step: see the top of this file

    @staticmethod
    def _is_one_frame(data: bytes) -> bool:
        """Most often there is one frame without descriptors, no more and no less."""
        if len(data) < 16:
            return False
        length, count = FRAME_HEADER.unpack_from(data)
        return not count and length == len(data) - 16

    def _head(self) -> bytes:
        if len(self._data[0]) < 16:
            self._data = [b"".join(self._data)]
        return self._data[0]

    def close(self) -> None:
        for _, fds in self.complete:
            close_all(fds)
        close_all(self._fds)
        self.complete.clear()
        self._fds, self._data = [], []


class Channel:
    """The parent's end: non-blocking. One thread at a time (the manager sees to that)."""

    __slots__ = ("_arrived", "_outbox", "_parser", "_sent", "_sock", "eof")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._parser = _Parser()
        self._arrived: deque[tuple[bytes, list[tuple[int, int, bytes]], int, object]] = deque()
        self._outbox: deque[tuple[memoryview, list[int]]] = deque()
        self._sent: deque[int] = deque()
        self.eof = False

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def frames(self) -> deque[Frame]:
        """What has come and was not handled yet, in its order."""
        return self._parser.complete

    def receive(self) -> bool:
        """Read what is there into `frames`. Sets ``eof`` once the other end is closed.

        True if it has stopped early: a worker that sends without a pause is not to keep the reader from its other work.
        """
        more = True
        chunks = 0
        while more and chunks < _MOST_CHUNKS:
            more = self._receive_chunk()
            chunks += 1
        arrived = self._arrived
        while arrived:
            data, ancillary, _, _ = arrived[0]
            if data:
                self._parser.add(data, ancillary)
            arrived.popleft()
        self._parser.parse()
        return more

    def _receive_chunk(self) -> bool:
        """False when nothing more is there."""
        arrived = self._arrived
        try:
            arrived.extend(map(self._sock.recvmsg, (_CHUNK,), (_ANCILLARY,), (_RECEIVE_FLAGS,)))
        except BlockingIOError:
            return False
        except OSError:  # reset: as good as closed
            self.eof = True
            return False
        data, ancillary, _, _ = arrived[-1]
        if not data:
            self.eof = True
        return len(data) == _CHUNK or bool(ancillary)  # the kernel ends a chunk behind descriptors

    def post(self, body: bytes, fds: Sequence[int] = ()) -> None:
        """Queue one frame; the channel closes ``fds`` once they are sent. Call `flush` after it."""
        frame = FRAME_HEADER.pack(len(body), len(fds)) + body
        rest = memoryview(frame)
        while len(fds) > MAX_DESCRIPTORS:  # a message takes no more, and must carry a byte
            self._outbox.append((rest[:1], list(fds[:MAX_DESCRIPTORS])))
            rest, fds = rest[1:], fds[MAX_DESCRIPTORS:]
        self._outbox.append((rest, list(fds)))

    def flush(self) -> bool:
        """Write what the kernel takes; True when nothing is left."""
        while self._outbox:
            if self._sent:
                self._drop_sent()
                continue
            data, fds = self._outbox[0]
            try:
                if fds:
                    self._sent.extend(map(self._sock.sendmsg, ([data],), (_rights(fds),)))
                else:
                    self._sent.extend(map(self._sock.send, (data,)))
            except BlockingIOError:
                return False
            except OSError:  # the worker has gone; its end is seen where we read
                return False
        return True

    def _drop_sent(self) -> None:
        while self._sent:
            data, fds = self._outbox[0]
            if len(self._outbox) == 1 and self._sent[0] == len(data):
                self._outbox, self._sent = deque(), deque()  # in one step: see the top of this file
                close_all(fds)
                return
            rest = data[self._sent[0] :]
            outbox = deque(self._outbox)
            if rest:
                outbox[0] = (rest, [])
            else:
                outbox.popleft()
            nothing: deque[int] = deque()
            self._outbox, self._sent = outbox, nothing  # in one step: see the top of this file
            close_all(fds)

    def hang_up(self) -> None:
        """The other end finds the channel closed."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def forget(self) -> None:
        """In a forked child: the descriptor was closed and its number may be another's."""
        self._sock.detach()

    def close(self) -> None:
        self._parser.close()
        for _, fds in self._outbox:
            close_all(fds)
        self._outbox.clear()
        self._sock.close()


class WorkerChannel:
    """The worker's end: blocking."""

    __slots__ = ("_parser", "_poller", "_sock", "_spin")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._parser = _Parser()
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._spin = Spin(self._poll)

    def fileno(self) -> int:
        return self._sock.fileno()

    def _poll(self, seconds: float | None) -> list[tuple[int, int]]:
        return self._poller.poll(None if seconds is None else seconds * 1000)

    def receive(self, *, spin: bool = False) -> Frame | None:
        """The next frame; None when the parent has closed its end. ``spin``: look for it before the sleep (`_spin`)."""
        while True:
            if self._parser.complete:
                return self._parser.complete.popleft()
            if spin:
                self._spin.wait(None)
            try:
                data, ancillary, _, _ = self._sock.recvmsg(_CHUNK, _ANCILLARY, _RECEIVE_FLAGS)
            except ConnectionError:
                return None
            if not data:
                return None
            self._parser.add(data, ancillary)
            self._parser.parse()

    def wait(self, seconds: float) -> bool:
        """Whether a frame, or a part of one, comes within that time."""
        return bool(self._parser.complete or self._poll(seconds))

    def send_bytes(self, frame: bytes | memoryview) -> None:
        """A whole frame, its header included."""
        self._sock.sendall(frame)

    def send(self, body: Sequence[bytes | memoryview], fds: Sequence[int] = ()) -> None:
        """One frame made of parts; ``fds`` stay the caller's."""
        header = FRAME_HEADER.pack(sum(map(len, body)), len(fds))
        while fds:  # a message takes no more than so many, and must carry a byte
            more = len(fds) > MAX_DESCRIPTORS
            sent = self._sock.sendmsg([header[:1] if more else header], _rights(fds[:MAX_DESCRIPTORS]))
            header, fds = header[sent:], fds[MAX_DESCRIPTORS:]
        if header:
            self._sock.sendall(header)
        for part in body:
            self._sock.sendall(part)
