"""A series: results of consecutive items of a run, gathered in shared memory.

An outcome of its own costs more than many a function. In a series a number is one store, and the word ITEM, which the
worker writes anyway, says how many results there are: those before the item that it works on. So a death costs the
item that was running, here too. All are of one plain type, or all are pickled. A series ends when another result does
not fit in, when it is time to send it, and with its run; then it becomes one record among the outcomes.

    result   TYPE   SERIES                    the first result, then how it is stored, then that there is a series
    result   ITEM   result   ITEM   ...       each other result is counted when the next item begins
    record   SERIES                           put among the outcomes, then no more: what is read twice is known to be

Pickles lie one behind the other, behind a table of where each ends. Where somebody wants to know when each item ended,
that stands in a third place.
"""

from __future__ import annotations

from itertools import pairwise

from ._messages import Kind, record
from ._status import ITEM, LOW, RUNNING, SERIES, SERIES_BYTES, SINCE, STAMPS_BYTES, TYPE, StatusBlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._outcomes import Outcomes

__all__ = ["GROUP", "PICKLED", "Series", "is_series", "load_numbers", "pickles", "stamps", "unsent_series"]

GROUP = 32  # numbers that may be added between two looks at the clock
PICKLED: type = bytes  # what stands for the type of a series of pickles
_MOST = min(SERIES_BYTES, STAMPS_BYTES) // 8
_TABLE_BYTES = SERIES_BYTES // 4
_FEW = 8
_KINDS: dict[type, int] = {int: Kind.INTS, float: Kind.FLOATS, bool: Kind.BOOLS, type(None): Kind.NONES}
# How a number is stored: None as if it were False.
_FORMATS = {Kind.INTS: "q", Kind.FLOATS: "d", Kind.BOOLS: "?", Kind.NONES: "?"}
_SIZES = {Kind.INTS: 8, Kind.FLOATS: 8, Kind.BOOLS: 1, Kind.NONES: 1}


class Series:
    """The worker's side. For the thread that runs tasks.

    Numbers are stored by whoever has them, in ``slots`` from ``count`` on, at most `GROUP` between two calls of
    `is_full`; all are of ``type``, which is None while there is no series.
    """

    __slots__ = (
        "_block",
        "_fill",
        "_outcomes",
        "_slots",
        "_stamps",
        "_table",
        "_words",
        "count",
        "slots",
        "stamped",
        "type",
    )

    def __init__(self, block: StatusBlock, outcomes: Outcomes) -> None:
        self._block = block
        self._words = block.words
        self._slots = {kind: block.series.cast(form) for kind, form in _FORMATS.items()}  # type: ignore[call-overload]
        self._table = block.series[:_TABLE_BYTES].cast("I")
        self._stamps = block.stamps.cast("Q")
        self._fill = 0  # where the last pickle ends
        self._outcomes = outcomes
        self.type: type | None = None
        self.slots: Any = None
        self.count = 0
        self.stamped = False  # whether those that begin from now on tell when each item ended

    def begin(self, word: int, value: object, started: int, ended: int) -> bool:
        """Begin one with that result, of the item that ``word`` stands for; False if it is no plain number."""
        kind = _KINDS.get(type(value))
        if kind is None:
            return False
        slots: Any = self._slots[kind]
        try:
            slots[0] = value
        except ValueError:  # an int of more than 64 bits
            return False
        self.slots, self.count = slots, 1
        self._open(word, kind, type(value), started, ended)
        return True

    def begin_pickles(self, word: int, data: bytes, started: int, ended: int) -> bool:
        """Begin one with that pickled result; False if it is large."""
        self._fill = _TABLE_BYTES
        self.count = 0
        if not self.add(data):
            return False
        self._open(word, Kind.PICKLES, PICKLED, started, ended)
        return True

    def _open(self, word: int, kind: int, type: type, started: int, ended: int) -> None:
        if self.stamped:
            kind |= Kind.STAMPED
            self.stamp(ended)
        self._words[TYPE] = kind
        self._words[SINCE] = started
        self._words[SERIES] = word
        self.type = type

    def stamp(self, ended: int) -> None:
        """The last result came at that time (monotonic nanoseconds)."""
        self._stamps[self.count - 1] = ended

    def add(self, data: bytes) -> bool:
        """Add a pickled result; False if there is no room for it."""
        count, fill = self.count, self._fill
        end = fill + len(data)
        if end > SERIES_BYTES or count == len(self._table):
            return False
        self._block.series[fill:end] = data
        self._table[count] = end
        self._fill = end
        self.count = count + 1
        return True

    def is_full(self) -> bool:
        return self.count > _MOST - GROUP

    def end(self, now: int) -> bool:
        """Make a record of it, if there is one; whether it had more than a few results."""
        if self.type is None:
            return True
        data = _payload(self._block, self._words[TYPE], self.count)
        started = self._words[SINCE]
        self._outcomes.put(self._words[SERIES], self._words[TYPE], data, started, now - started)
        self._words[SERIES] = 0
        self.type = None
        return self.count >= _FEW


def _payload(block: StatusBlock, kind: int, count: int) -> bytes:
    if kind & Kind.STAMPED:
        stamps = bytes(block.stamps[: 8 * count])
        return count.to_bytes(8, "little") + stamps + _payload(block, kind & Kind.ALONE, count)
    if kind != Kind.PICKLES:
        return bytes(block.series[: count * _SIZES[kind]])
    table = block.series[: 4 * count]
    end = table.cast("I")[count - 1]
    return count.to_bytes(4, "little") + bytes(table) + bytes(block.series[_TABLE_BYTES:end])


def is_series(kind: int) -> bool:
    return Kind.INTS <= kind <= Kind.PICKLES


def unsent_series(block: StatusBlock) -> bytes:
    """The series that the worker gathers, as a record, which is whole if SERIES has not changed; empty without one."""
    words = block.words
    word, kind = words[SERIES], words[TYPE]
    count = words[ITEM] - (word >> 32)
    if not word or words[RUNNING] != word & LOW or not is_series(kind & Kind.ALONE):
        return b""
    # A worker that goes on meanwhile may be past what a series can hold.
    if not 0 < count <= _most(kind):
        return b""
    return record(kind, _payload(block, kind, count), lease=word, started=words[SINCE])


def _most(kind: int) -> int:
    """How many results may lie in a series."""
    most = STAMPS_BYTES // 8 if kind & Kind.STAMPED else SERIES_BYTES
    kind &= Kind.ALONE
    return min(most, _TABLE_BYTES // 4 if kind == Kind.PICKLES else SERIES_BYTES // _SIZES[kind])


def stamps(data: bytes | memoryview) -> tuple[list[int], bytes | memoryview]:
    """When each item of a stamped series ended, and the rest of its payload."""
    end = 8 + 8 * int.from_bytes(data[:8], "little")
    return memoryview(data)[8:end].cast("Q").tolist(), data[end:]


def load_numbers(kind: int, data: bytes | memoryview) -> list[Any]:
    """The results in the payload of a series of numbers."""
    if kind == Kind.NONES:
        return [None] * len(data)
    values: list[Any] = memoryview(data).cast(_FORMATS[kind]).tolist()  # type: ignore[call-overload]
    return values


def pickles(data: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Those in the payload of a series of pickles."""
    count = int.from_bytes(data[:4], "little")
    table = memoryview(data[4 : 4 + 4 * count]).cast("I")
    shift = 4 + 4 * count - _TABLE_BYTES
    for start, end in pairwise([_TABLE_BYTES, *table]):
        yield data[start + shift : end + shift]
