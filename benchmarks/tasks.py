"""The functions that run in workers.

They stand in a module of their own, with nothing else to import, so that a worker which loads them pays
for nothing that belongs to the measuring side.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def same(value: Any) -> Any:
    """The tiniest task that still takes an argument and returns something."""
    return value


def nap(seconds: float) -> float:
    """Sleep and return the seconds asked for: a task that needs a worker but no core."""
    time.sleep(seconds)
    return seconds


def pid() -> int:
    """The worker's own pid."""
    return os.getpid()


def total(array: Any) -> float:
    """A large argument in, one float out. Touches every page, so that the memory was really there."""
    return float(array[::512].sum())


def total_and_nap(array: Any) -> float:
    """The same, and a nap in which other workers get their part of such tasks."""
    time.sleep(0.1)
    return total(array)
