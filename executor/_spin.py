"""Adaptive spinning: a waiting thread looks for events for some microseconds before it sleeps.

A core that sleeps takes longer to wake than a tiny task takes for its whole trip to a worker and back. Only a thread
that waits for a result looks (it has nothing else to do), only while a core is left for it, and only while it pays:
after a look in vain it sleeps at once the next times, twice as often with each failure. So long tasks cost a few looks
in all, and what is idle sleeps.
"""

from __future__ import annotations

import os
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Events = list[tuple[int, int]]

__all__ = ["Spin", "cores"]

_LONGEST = 100e-6  # seconds of a look
_SHORT = 200e-6  # seconds of a sleep that a look might have spared, the waking included
_MOST_SKIPPED = 1024
_SPARED = 16  # how many skipped looks such a sleep stands for


def cores() -> int:
    """How many this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # elsewhere than on Linux
        return os.cpu_count() or 1


class Spin:
    """Waits for events. For one thread at a time."""

    __slots__ = ("_now", "_penalty", "_poll", "_skip")

    def __init__(self, poll: Callable[[float | None], Events], now: Callable[[], float] = perf_counter) -> None:
        """``poll(seconds)`` waits for up to that long."""
        self._poll = poll
        self._now = now
        self._skip = 0  # so many times it sleeps at once
        self._penalty = 1

    def wait(self, longest: float | None) -> Events:
        """What has come after up to ``longest`` seconds."""
        if self._skip > 0:
            return self._sleep(longest)
        until = self._now() + (_LONGEST if longest is None else min(longest, _LONGEST))
        while True:
            events = self._poll(0)
            if events:
                self._penalty = 1
                return events
            if self._now() > until:
                self._penalty = self._skip = min(2 * self._penalty, _MOST_SKIPPED)
                return self._poll(longest)

    def _sleep(self, longest: float | None) -> Events:
        began = self._now()
        events = self._poll(longest)
        self._skip -= _SPARED if self._now() - began < _SHORT else 1
        return events
