"""Large copies: by two threads where numpy is loaded, and the same bytes either way."""

from __future__ import annotations

import mmap
import sys
import threading
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


def test_nobody_copies_any_more_after_an_interrupt() -> None:
    ended = threading.Event()
    main = threading.get_ident()

    def copyto(target: object, source: object) -> None:
        if threading.get_ident() == main:
            raise KeyboardInterrupt
        ended.wait(0.05)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        _copying._copy_side_by_side(copyto, [], [])
    assert ended.is_set()
