"""A series: results of consecutive items of a run that are of one plain type, gathered as an array in shared memory.

An outcome of its own costs more than many a function. In a series each result is one store, and the word ITEM, which
the worker writes anyway, says how many there are: those before the item that it works on. So a death costs the item
that was running, here too. A series ends when a result is of another type, when it is time to send it, at the
end of its run, or when it is full; then it becomes one record among the outcomes.

    slot   TYPE   SERIES                  the first result, then its type, then that there is a series
    slot   ITEM   slot   ITEM   ...       each other result is counted when the next item begins
    record   SERIES                       put among the outcomes, then no more: what is read twice is known to be
"""

from __future__ import annotations

from ._messages import Kind, record
from ._status import ITEM, RUNNING, SERIES, SERIES_BYTES, TYPE, StatusBlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._outcomes import Outcomes

__all__ = ["GROUP", "Series", "is_series", "load_series", "unsent_series"]

GROUP = 32  # results that may be added between two looks at the clock
MOST = SERIES_BYTES // 8
_LOW = 0xFFFFFFFF
_KINDS: dict[type, int] = {int: Kind.INTS, float: Kind.FLOATS, bool: Kind.BOOLS, type(None): Kind.NONES}
# How a result is stored: None as if it were False.
_FORMATS = {Kind.INTS: "q", Kind.FLOATS: "d", Kind.BOOLS: "?", Kind.NONES: "?"}
_SIZES = {Kind.INTS: 8, Kind.FLOATS: 8, Kind.BOOLS: 1, Kind.NONES: 1}


class Series:
    """The worker's side. For the thread that runs tasks.

    Whoever adds results stores them in ``slots`` from ``count`` on, at most `GROUP` between two
    calls of `is_full`; all are of ``type``, which is None while there is no series.
    """

    __slots__ = ("_bytes", "_outcomes", "_slots", "_started", "_words", "count", "slots", "type")

    def __init__(self, block: StatusBlock, outcomes: Outcomes) -> None:
        self._words = block.words
        self._bytes = block.series
        self._slots = {kind: block.series.cast(form) for kind, form in _FORMATS.items()}  # type: ignore[call-overload]
        self._outcomes = outcomes
        self._started = 0
        self.type: type | None = None
        self.slots: Any = None
        self.count = 0

    def begin(self, word: int, value: object, started: int) -> bool:
        """Begin one with that result, of the item that ``word`` stands for; False if the result is not plain."""
        kind = _KINDS.get(type(value))
        if kind is None:
            return False
        slots: Any = self._slots[kind]
        try:
            slots[0] = value
        except ValueError:  # an int of more than 64 bits
            return False
        self._words[TYPE] = kind
        self._words[SERIES] = word
        self.type, self.slots, self.count, self._started = type(value), slots, 1, started
        return True

    def is_full(self) -> bool:
        return self.count > MOST - GROUP

    def end(self, now: int) -> None:
        """Make a record of it, if there is one."""
        if self.type is None:
            return
        kind, size = self._words[TYPE], self.count * _SIZES[self._words[TYPE]]
        self._outcomes.put(self._words[SERIES], kind, bytes(self._bytes[:size]), self._started, now - self._started)
        self._words[SERIES] = 0
        self.type = None


def is_series(kind: int) -> bool:
    return kind in _FORMATS


def unsent_series(block: StatusBlock) -> bytes:
    """The series that the worker gathers, as a record, which is whole if SERIES has not changed; empty without one."""
    words = block.words
    word = words[SERIES]
    if not word:
        return b""
    kind, count = words[TYPE], words[ITEM] - (word >> 32)
    if words[RUNNING] != word & _LOW or kind not in _SIZES or not 0 < count <= MOST:
        return b""
    return record(kind, bytes(block.series[: count * _SIZES[kind]]), lease=word)


def load_series(kind: int, data: bytes | memoryview) -> list[Any]:
    """The results in the payload of such a record."""
    if kind == Kind.NONES:
        return [None] * len(data)
    values: list[Any] = memoryview(data).cast(_FORMATS[kind]).tolist()  # type: ignore[call-overload]
    return values
