"""Records and frames: what is written is read again, in whatever pieces it arrives."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor._channel import FRAME_HEADER, MAX_DESCRIPTORS, Channel, WorkerChannel
from executor._messages import ALL_ITEMS, CALLS, HEADER, RETIRE, SETUP, Kind, pad, record

KINDS = [Kind.RETURNED, Kind.RAISED, Kind.SKIPPED, Kind.READY, Kind.FAILED, Kind.NOTE, Kind.DONE]

words = st.integers(0, 2**64 - 1)


def read(data: bytes) -> list[tuple[int, int, bytes, int, int]]:
    """Cut records the way the parent does: lease, kind, payload, started, duration."""
    found, at = [], 0
    while at < len(data):
        lease, meta, started, duration = HEADER.unpack_from(data, at)
        size = meta >> 8
        found.append((lease, meta & 0xFF, data[at + HEADER.size : at + HEADER.size + size], started, duration))
        at += HEADER.size + pad(size)
    assert at == len(data)
    return found


@given(st.integers(0, 1 << 40))
def test_padding_is_up_to_the_next_word(size: int) -> None:
    assert pad(size) % 8 == 0
    assert 0 <= pad(size) - size < 8


def test_the_kinds_can_be_told_apart_and_leave_room_for_the_flag() -> None:
    assert len({*KINDS}) == len(KINDS)
    assert all(0 < kind < Kind.PARCEL for kind in KINDS)
    assert all((kind | Kind.PARCEL) & 0x7F == kind for kind in KINDS)
    assert all(kind & Kind.ALONE == kind for kind in KINDS)
    assert Kind.PARCEL | Kind.STAMPED | Kind.ALONE == 0xFF
    assert len({SETUP, CALLS, RETIRE}) == 3


@given(st.lists(st.tuples(words, st.sampled_from(KINDS), st.binary(max_size=100), words, words)))
def test_records_lie_one_after_the_other(facts: list[tuple[int, int, bytes, int, int]]) -> None:
    data = b"".join(
        record(kind, payload, lease=lease, started=started, duration=duration)
        for lease, kind, payload, started, duration in facts
    )
    assert read(data) == facts


def test_a_record_may_be_empty() -> None:
    assert read(record(Kind.READY)) == [(0, Kind.READY, b"", 0, 0)]


@given(st.integers(1, 2**32 - 2), st.integers(0, ALL_ITEMS))
def test_the_item_of_a_run_fits_above_its_lease(lease: int, item: int) -> None:
    ((word, *_),) = read(record(Kind.RETURNED, b"x", lease=item << 32 | lease))
    assert (word & 0xFFFFFFFF, word >> 32) == (lease, item)


# --- frames -------------------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[Channel, WorkerChannel]]:
    ours, theirs = socket.socketpair()
    with closing(Channel(ours)) as channel, theirs:
        yield channel, WorkerChannel(theirs)


def arrived(channel: Channel) -> list[tuple[bytes, list[int]]]:
    assert not channel.receive()  # all that was sent has been read: a chunk ends behind descriptors, the frames do not
    found = [(bytes(body), fds) for body, fds in channel.frames]
    channel.frames.clear()
    return found


def test_frames_to_the_worker_arrive_one_by_one(ends: tuple[Channel, WorkerChannel]) -> None:
    channel, worker = ends
    messages = [(SETUP, {"slot": 0}), (CALLS, [(1, b"payload"), (2, b"", 3)]), (RETIRE,)]
    for message in messages:
        channel.post(pickle.dumps(message))
    assert channel.flush()
    for message in messages:
        frame = worker.receive()
        assert frame is not None
        assert pickle.loads(frame[0]) == message
    channel.hang_up()
    assert worker.receive() is None


def test_frames_to_the_parent_arrive_together(ends: tuple[Channel, WorkerChannel]) -> None:
    channel, worker = ends
    worker.send([b"one"])
    worker.send([])
    worker.send([b"th", b"r", b"ee"])
    assert arrived(channel) == [(b"one", []), (b"", []), (b"three", [])]
    assert arrived(channel) == []
    assert not channel.eof
    worker._sock.close()
    assert arrived(channel) == []
    assert channel.eof


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(1, 40), max_size=20))
def test_a_frame_may_arrive_in_any_pieces(bodies: list[bytes], cuts: list[int]) -> None:
    ours, theirs = socket.socketpair()
    stream = b"".join(FRAME_HEADER.pack(len(body), 0) + body for body in bodies)
    found = []
    with closing(Channel(ours)) as channel, theirs:
        for cut in [*cuts, len(stream)]:
            theirs.sendall(stream[:cut])
            stream = stream[cut:]
            found += arrived(channel)
    assert found == [(body, []) for body in bodies]


def test_what_the_kernel_does_not_take_waits(ends: tuple[Channel, WorkerChannel]) -> None:
    """A worker that does not read holds up nobody: the parent's end goes on when it does."""
    channel, worker = ends
    large = os.urandom(1 << 20)
    channel.post(large)
    channel.post(b"behind it")
    assert not channel.flush()
    frames = []
    while len(frames) < 2:
        # Each end in turn, in one thread: the worker's would block if there were nothing to read.
        channel.flush()
        data, *_ = worker._sock.recvmsg(1 << 16)
        worker._parser.add(data, [])
        worker._parser.parse()
        while worker._parser.complete:
            frames.append(bytes(worker._parser.complete.popleft()[0]))
    assert frames == [large, b"behind it"]
    assert channel.flush()


def pipe_with(data: bytes) -> int:
    """The read end of a pipe that holds this."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


def test_descriptors_arrive_with_their_own_frame(ends: tuple[Channel, WorkerChannel]) -> None:
    channel, worker = ends
    channel.post(b"none")
    channel.post(b"two", [pipe_with(b"a"), pipe_with(b"b")])
    channel.post(b"one", [pipe_with(b"c")])
    assert channel.flush()
    got = []
    for _ in range(3):
        frame = worker.receive()
        assert frame is not None
        got.append((bytes(frame[0]), [os.read(fd, 9) for fd in frame[1]]))
        for fd in frame[1]:
            os.close(fd)
    assert got == [(b"none", []), (b"two", [b"a", b"b"]), (b"one", [b"c"])]


def test_as_many_descriptors_as_are_promised_fit(ends: tuple[Channel, WorkerChannel]) -> None:
    channel, worker = ends
    fds = [pipe_with(b"%d" % n) for n in range(MAX_DESCRIPTORS)]
    worker.send([b"body"], fds)
    ((body, received),) = arrived(channel)
    assert body == b"body"
    assert [os.read(fd, 9) for fd in received] == [b"%d" % n for n in range(MAX_DESCRIPTORS)]
    for fd in [*fds, *received]:
        os.close(fd)


def test_descriptors_that_nobody_took_are_closed_with_the_channel(ends: tuple[Channel, WorkerChannel]) -> None:
    """The leak check of every test is what looks: one lies in a whole frame, one before its frame is whole."""
    channel, worker = ends
    fds = [pipe_with(b"a"), pipe_with(b"b")]
    worker.send([b"whole"], fds[:1])
    worker._sock.sendmsg(
        [FRAME_HEADER.pack(100, 1)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds[1].to_bytes(4, "little"))]
    )
    while not channel.frames:
        channel.receive()
    channel.receive()
    for fd in fds:
        os.close(fd)
    assert len(channel.frames) == 1


def test_frames_with_descriptors_do_not_hide_those_behind_them(ends: tuple[Channel, WorkerChannel]) -> None:
    channel, worker = ends
    fds = [pipe_with(b"a") for _ in range(5)]
    for fd in fds:
        worker.send([b"with"], [fd])
        worker.send([b"without"])
    found = arrived(channel)
    assert [body for body, _ in found] == [b"with", b"without"] * 5
    for fd in [*fds, *(fd for _, received in found for fd in received)]:
        os.close(fd)
