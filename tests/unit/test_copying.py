"""Large copies: by two threads where numpy is loaded, and the same bytes either way."""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from typing import Any

import pytest

from executor import _copying
from executor._copying import copy_into

SIZE = 5_000_001
OFFSET = 3


@pytest.fixture(params=["numpy", "no numpy", "no thread"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_copying, "cores", lambda: 2)
    if request.param == "no numpy":
        monkeypatch.delitem(sys.modules, "numpy", raising=False)
    else:
        pytest.importorskip("numpy")
    if request.param == "no thread":

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
    return str(request.param)


def some_bytes(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


@pytest.mark.parametrize("size", [0, 1, 1000, SIZE])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_the_bytes_are_the_same(way: str, kind: Any, size: int) -> None:
    with mmap.mmap(-1, SIZE + 10) as mapping:
        copy_into(mapping, OFFSET, memoryview(kind(some_bytes(size))))
        assert mapping[OFFSET : OFFSET + size] == some_bytes(size)
        assert mapping[:OFFSET] == bytes(OFFSET)
        assert mapping[OFFSET + size :] == bytes(SIZE + 10 - OFFSET - size)


def test_nobody_copies_any_more_after_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_copying, "_PIECE", 1)
    copied = []
    main = threading.get_ident()

    def copyto(target: object, source: list[int]) -> None:
        if threading.get_ident() == main:
            raise KeyboardInterrupt
        time.sleep(0.02)
        copied.extend(source)

    with pytest.raises(KeyboardInterrupt):
        _copying._copy_side_by_side(copyto, [0, 0, 0], [1, 2, 3])
    assert copied in ([1, 2], [1, 3], [2, 3], [1, 2, 3])
    before = list(copied)
    time.sleep(0.05)
    assert copied == before


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux")
@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", set)(0)) < 2, reason="one core")
def test_the_second_thread_is_on_another_core_and_the_first_stays_free() -> None:
    before = os.sched_getaffinity(0)
    cores = []

    def look() -> None:
        cores.append(os.sched_getaffinity(0))

    helper = threading.Thread(target=_copying._run_elsewhere, args=(look, threading.get_native_id()))
    helper.start()
    helper.join()
    assert cores[0] < before
    assert len(cores[0]) == len(before) - 1
    assert os.sched_getaffinity(0) == before


def test_a_thread_that_has_gone_does_no_harm() -> None:
    called = []
    _copying._run_elsewhere(lambda: called.append(1), 2**22 + 1)  # no such thread
    assert called == [1]
