"""Decisions without a clock, a process or a lock: time is an argument (seconds, monotonic)."""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["QUICK", "WINDOW", "Backoff", "Estimates", "Quota", "RestartIntensity", "parse_bytes", "positive"]

WINDOW = 0.004  # seconds of work that a worker may have in hand
QUICK = 0.00005  # seconds: calls of functions that take less are quick, and leased together

_UNITS = {"": 1, "b": 1}
_UNITS.update({prefix + "b": 1000**power for power, prefix in enumerate("kmgt", start=1)})
_UNITS.update({prefix + "ib": 1024**power for power, prefix in enumerate("kmgt", start=1)})


def parse_bytes(value: int | str | None, name: str = "max_memory_per_child") -> int | None:
    """Bytes from an int or from text such as ``"512MB"`` or ``"1.5GiB"``; None stays None."""
    if value is None:
        return None
    if isinstance(value, str):
        number = value.strip().lower().rstrip("kmgtib")
        unit = value.strip().lower()[len(number) :].strip()
        try:
            size = int(float(number) * _UNITS[unit])
        except (ValueError, KeyError, OverflowError):
            raise ValueError(f'{name} is to be bytes or text such as "512MB" or "1.5GiB", not {value!r}') from None
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise TypeError(f"{name} is to be an int or a str, not {type(value).__name__}")
    if size <= 0:
        raise ValueError(f"{name} must be > 0")
    return size


def positive(value: float | None, name: str) -> float | None:
    """A number of seconds above zero, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is to be a number of seconds, not {type(value).__name__}")
    if not value > 0:
        raise ValueError(f"{name} must be > 0")
    return float(value)


class Quota:
    """What one worker may use before it is replaced. None means no limit."""

    __slots__ = ("age", "memory", "tasks")

    def __init__(self, tasks: int | None = None, memory: int | str | None = None, age: float | None = None) -> None:
        if tasks is not None:
            if not isinstance(tasks, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if tasks <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        self.tasks = tasks
        self.memory = parse_bytes(memory)
        self.age = positive(age, "max_age_per_child")

    @property
    def replaces(self) -> bool:
        """Whether workers are to be replaced for their number of tasks or their age."""
        return self.tasks is not None or self.age is not None

    def exceeded(self, *, tasks: int, age: float) -> str | None:
        """The reason to retire a worker between two tasks, or None."""
        if self.tasks is not None and tasks >= self.tasks:
            return "max_tasks_per_child"
        if self.age is not None and age >= self.age:
            return "max_age_per_child"
        return None


class RestartIntensity:
    """At most ``limit`` unexplained deaths within ``period`` seconds (the meaning of Erlang/OTP's supervisor)."""

    __slots__ = ("_deaths", "limit", "period")

    def __init__(self, limit: int = 5, period: float = 30.0) -> None:
        if limit < 0 or not period > 0:
            raise ValueError("limit must be >= 0 and period > 0")
        self.limit = limit
        self.period = period
        self._deaths: deque[float] = deque()

    @property
    def deaths(self) -> int:
        """How many deaths are within the period, as of the last one."""
        return len(self._deaths)

    def died(self, now: float) -> bool:
        """Count a death; True when that is one more than allowed."""
        self._deaths.append(now)
        while self._deaths and self._deaths[0] <= now - self.period:
            self._deaths.popleft()
        return len(self._deaths) > self.limit

    def forgive(self) -> None:
        """Begin to count anew: a worker has shown that workers can live."""
        self._deaths.clear()

    def fresh(self) -> RestartIntensity:
        """The same limits with nothing counted."""
        return RestartIntensity(self.limit, self.period)


class Backoff:
    """The pause before a restart: none after the first death, then doubling from ``first`` up to ``most`` seconds."""

    __slots__ = ("first", "most")

    def __init__(self, first: float = 0.02, most: float = 1.0) -> None:
        if first < 0 or most < first:
            raise ValueError("0 <= first <= most is needed")
        self.first = first
        self.most = most

    def pause(self, deaths: int) -> float:
        """Seconds to wait after that many unexplained deaths in a row."""
        if deaths <= 1:
            return 0.0
        return float(min(self.most, self.first * 2 ** min(deaths - 2, 60)))


class Estimates:
    """How long calls of a function take, from those that came back (seconds, moving average).

    A worker's first call may take many times as long as the others: it imports, it fills caches, it maps memory. So the
    first call that turns out to be much quicker counts for all that were before it.
    """

    __slots__ = ("_fresh", "_seconds")
    _MOST = 512

    def __init__(self) -> None:
        self._seconds: dict[Any, float] = {}
        self._fresh: set[Any] = set()  # those whose calls have all taken much the same so far

    @staticmethod
    def key(fn: Callable[..., Any]) -> Any:
        """What calls of one function have in common: closures of one body share it."""
        code = getattr(fn, "__code__", None)
        if code is None:
            while hasattr(fn, "func"):  # functools.partial
                fn = fn.func
            code = getattr(fn, "__code__", None)
        # Not the code itself: since Python 3.12 its hash goes through all its instructions, each time.
        return id(code) if code is not None else getattr(fn, "__qualname__", None) or type(fn)

    def get(self, key: Any) -> float | None:
        return self._seconds.get(key)

    def is_quick(self, key: Any) -> bool:
        seconds = self._seconds.get(key)
        return seconds is not None and seconds < QUICK

    def learn(self, key: Any, seconds: float) -> None:
        known = self._seconds.get(key)
        if known is None:
            if len(self._seconds) >= self._MOST:
                self._seconds.clear()
                self._fresh.clear()
            self._seconds[key] = seconds
            self._fresh.add(key)
        elif seconds > known:
            self._seconds[key] = (known + seconds) / 2  # a slow call is to be noticed at once
            if seconds > 2 * known:
                self._fresh.discard(key)
        elif seconds < known / 2 and key in self._fresh:
            self._seconds[key] = seconds
            self._fresh.remove(key)
        else:
            self._seconds[key] = known + (seconds - known) / 4

    def learn_mean(self, key: Any, seconds: float, count: int) -> None:
        """What each of several calls took, on average.

        Whatever else the machine does meanwhile lengthens quick calls, many times over; nothing shortens them.
        """
        known = self._seconds.get(key)
        if known is None or count == 1:
            self.learn(key, seconds)
        else:
            weight = max(count / 4096, 0.5 / count) if seconds > known else count / 64
            self._seconds[key] = known + (seconds - known) * min(weight, 0.5)
