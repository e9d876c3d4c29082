"""Decodes what workers send: records, as they lie in a frame or in the outcome area (`_messages`)."""

from __future__ import annotations

import pickle
from time import monotonic_ns

from ._exceptions import load_exception
from ._interrupt import reaches_here
from ._messages import HEADER, Kind, pad
from ._pickling import decode_parcel
from ._series import is_series, load_numbers, pickles, stamps
from ._status import LOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any

    from ._trace import Tracer
    from ._worker import Worker

    # lease word, kind, value, error, started and duration (ns), when each of a series ended (ns), size (bytes)
    Record = tuple[int, int, Any, BaseException | None, int, int, list[int] | None, int]

__all__ = ["read_records"]


def read_records(
    worker: Worker, body: bytes | memoryview, fds: list[int], notes: deque[Any], tracer: Tracer | None
) -> list[Record]:
    """The records; log records go to ``notes``. Without the lock: loading runs the user's code. Never raises on account
    of it.
    """
    records: list[Record] = []
    at, end = 0, len(body)
    leases = worker.leases
    loads = pickle.loads
    if tracer is not None:
        began = monotonic_ns()
        beside = tracer.bytes_beside(fds)
    while at < end:
        word, meta, started, duration = HEADER.unpack_from(body, at)
        size = meta >> 8
        data = body[at + 32 : at + 32 + size]
        at += 32 + pad(size)
        kind = meta & Kind.ALONE
        if word and word & LOW not in leases and kind != Kind.SKIPPED:
            continue  # it was given up: timed out, cancelled
        value = error = ends = None
        if meta & Kind.STAMPED:
            ends, data = stamps(data)
        try:
            if kind == Kind.RETURNED:
                value = decode_parcel(data, fds) if meta & Kind.PARCEL else loads(data)
            elif kind in (Kind.RAISED, Kind.FAILED):
                error = load_exception(data)
            elif kind == Kind.LOG:
                if started > worker.logs_read:  # or it was read from the outcome area before
                    worker.logs_read = started
                    notes.append(loads(data))
                continue
            elif kind == Kind.NOTE:
                value = loads(data)
            elif kind == Kind.PICKLES:
                records += _load_pickles(word, data, started, duration, ends, size)
                continue
            elif is_series(kind):
                value = load_numbers(kind, data)
        except BaseException as failure:
            if reaches_here(failure):
                raise
            error = _of_loading(failure)
        records.append((word, kind, value, error, started, duration, ends, size))
    if tracer is not None:
        if beside and records:  # then it is the only one in its frame
            records = [(*records[0][:-1], records[0][-1] + beside)]
        tracer.unpickled(began, len(records))
    return records


def _of_loading(error: BaseException) -> BaseException:
    error.add_note("raised while the result of a task was loaded")
    return error


def _load_pickles(
    word: int, data: bytes | memoryview, started: int, duration: int, ends: list[int] | None, size: int
) -> list[Record]:
    """The records of a series; one that cannot be loaded fails its own item alone, and parts the others."""
    parts = list(pickles(data))
    each, size = duration // len(parts), size // len(parts)
    records: list[Record] = []
    values: list[Any] = []
    first = 0  # of the values

    def begun(number: int) -> int:
        return started + each * number if ends is None else ends[number - 1] if number else started

    def put(kind: int, value: Any, error: BaseException | None, stop: int) -> None:
        """A record of those from the first to before ``stop``."""
        when = begun(first), begun(stop) - begun(first)
        stamps = None if ends is None else ends[first:stop]
        records.append((word + (first << 32), kind, value, error, *when, stamps, size * (stop - first)))

    for number, part in enumerate(parts):
        try:
            values.append(pickle.loads(part))
        except BaseException as failure:
            if reaches_here(failure):
                raise
            if values:
                put(Kind.PICKLES, values, None, number)
            first = number
            put(Kind.RETURNED, None, _of_loading(failure), number + 1)
            values, first = [], number + 1
    if values:
        put(Kind.PICKLES, values, None, len(parts))
    return records
