"""Files that are kept for what is sent next: written again only when nobody reads them any more."""

from __future__ import annotations

import gc
import mmap
import os
from collections.abc import Iterator

import pytest

from executor import _depot
from executor._depot import Depot, File
from executor._segments import Segment, anonymous_file, map_segment
from tests.support import in_forked_child

SIZE = 1_000_000


@pytest.fixture
def depot() -> Iterator[Depot]:
    depot = Depot()
    yield depot
    depot.release()


def lend(depot: Depot, size: int = SIZE) -> int:
    fd = anonymous_file("test")
    os.ftruncate(fd, size)
    return depot.lend(File(fd, size))


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def test_what_is_on_its_way_is_not_taken(depot: Depot) -> None:
    lent = lend(depot)
    assert depot.take(SIZE) is None
    os.close(lent)


def test_what_has_been_read_is(depot: Depot) -> None:
    lent = lend(depot)
    number = inode(lent)
    os.close(lent)
    taken = depot.take(SIZE)
    assert taken is not None
    assert (inode(taken.fd), taken.size) == (number, SIZE)
    assert not depot
    taken.close()


def test_a_mapping_holds_it_when_its_descriptor_is_closed(depot: Depot) -> None:
    lent = lend(depot)
    mapping = mmap.mmap(lent, SIZE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(lent)
    view = memoryview(mapping)[10:20]
    del mapping
    gc.collect()
    assert depot.take(SIZE) is None
    del view
    taken = depot.take(SIZE)
    assert taken is not None
    taken.close()


def test_so_does_a_child_that_the_reader_has_forked(depot: Depot) -> None:
    lent = lend(depot)

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os._exit(0)
    os.close(lent)
    assert depot.take(SIZE) is None
    os.write(writing, b"x")
    os.waitpid(child, 0)
    taken = depot.take(SIZE)
    assert taken is not None
    taken.close()
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(("wanted", "fits"), [(1, False), (SIZE // 4, True), (SIZE, True), (SIZE + 1, False)])
def test_it_is_taken_for_what_is_about_as_large(depot: Depot, wanted: int, fits: bool) -> None:
    os.close(lend(depot))
    taken = depot.take(wanted)
    assert (taken is not None) == fits
    if taken is not None:
        taken.close()


def test_it_keeps_so_many_and_so_much(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        os.close(lend(depot))
    assert len(depot) == _depot._MOST_FILES
    monkeypatch.setattr(_depot, "_MOST_BYTES", 3 * SIZE)
    os.close(lend(depot))
    assert len(depot) == 3
    os.close(lend(depot, 4 * SIZE))
    assert len(depot) == 0


def test_what_is_not_used_goes(depot: Depot) -> None:
    os.close(lend(depot))
    depot.release(unused_for=3600)
    assert len(depot) == 1
    depot.release()
    assert len(depot) == 0


def test_a_forked_child_has_none_of_it(depot: Depot) -> None:
    os.close(lend(depot))
    assert in_forked_child(lambda: (len(depot), depot.take(SIZE))) == "returned (0, None)"
    assert len(depot) == 1


def test_segments_are_written_into_the_same_file_again() -> None:
    first = Segment.of([bytes(SIZE), b"abc"])
    number = inode(first.fd)
    (_, abc) = map_segment(first.fd, first.size, first.extents)
    other = Segment.of([b"x" * SIZE])
    assert inode(other.fd) != number
    assert bytes(abc) == b"abc"
    del abc, _
    again = Segment.of([b"y" * (SIZE // 2)])
    assert inode(again.fd) == number
    (half,) = map_segment(again.fd, again.size, again.extents)
    assert bytes(half) == b"y" * (SIZE // 2)
    (whole,) = map_segment(other.fd, other.size, other.extents)
    assert bytes(whole) == b"x" * SIZE
    del half, whole
    _depot.depot.release()


def test_without_proc_a_file_is_sent_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError("no /proc here")

    monkeypatch.setattr(_depot.os, "open", refuse)
    segment = Segment.of([bytes(SIZE)])
    monkeypatch.undo()
    assert len(_depot.depot) == 0
    (part,) = map_segment(segment.fd, segment.size, segment.extents)
    assert len(part) == SIZE


@pytest.mark.parametrize("maps", [True, False])
@pytest.mark.parametrize("size", [SIZE, 25_000_005])
def test_what_is_written_again_is_whole(maps: bool, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot.depot, "maps", maps)
    numbers = set()
    for turn in range(4):
        parts = [os.urandom(1000) * (size // 1000), b"%d" % turn, os.urandom(99)]
        segment = Segment.of(parts)
        numbers.add(inode(segment.fd))
        views = map_segment(segment.fd, segment.size, segment.extents)
        assert list(map(bytes, views)) == parts
        del views
    assert len(numbers) == 1
    _depot.depot.release()


def test_what_is_withdrawn_is_not_taken_and_the_others_are(depot: Depot) -> None:
    first, second = lend(depot), lend(depot)
    depot.withdraw(first)
    assert len(depot) == 1
    number = inode(second)
    os.close(first)
    os.close(second)
    taken = depot.take(SIZE)
    assert taken is not None
    assert inode(taken.fd) == number
    taken.close()
