"""Quick calls of one function that wait one behind the other go to a worker together, as the items of a map do.

Each stays a future of its own: an error, a death, a cancellation or a long duration concerns one of them. What they
share is a message, a lease, and the way back (`_series`): most of what a tiny task costs is spent on these.
"""

from __future__ import annotations

import pickle
from types import FunctionType

from ._errors import Attempt
from ._exceptions import copy_of
from ._messages import ALL_ITEMS, STAMPED, STAR
from ._named import pickle_named
from ._pickling import NUMBERS
from ._task import RUN_OVERHEAD, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any

__all__ = ["join_calls"]

_MOST = 1024  # calls in a run: they are joined with the lock held
_SHORT = 1024  # bytes or characters: longer arguments go one by one
_NO_ATTEMPTS: tuple[Attempt, ...] = ()


def join_calls(first: Any, queue: deque[Any], most: int) -> Task:
    """That future, with those at the front of the queue that can go with it, at most so many; they are taken off.

    All are calls of one function that has a name, with the same options, and with arguments that cannot fail to be
    pickled. With the lock.
    """
    fn, args, kwargs = first._call
    options, session = first.options, first.session
    if kwargs or first.attempts or options.goes_alone or type(fn) is not FunctionType or not _is_short(args):
        return first  # type: ignore[no-any-return]
    name = pickle_named(fn)
    if name is None or (session.main_by_value and b"__main__" in name):
        return first  # type: ignore[no-any-return]
    kind = type(first)
    calls, items = [first], [args]
    most = min(most, _MOST)
    while queue and len(calls) < most:
        future = queue[0]
        if type(future) is not kind or future.options is not options or future.session is not session:
            break
        call = future._call
        if call is None:  # cancelled
            queue.popleft()
            continue
        args = call[1]
        if call[0] is not fn or call[2] or future.attempts:
            break
        if not NUMBERS.issuperset(map(type, args)) and not _is_short(args):
            break
        queue.popleft()
        calls.append(future)
        items.append(args)
    return CallRun(calls, items, name) if len(calls) > 1 else first


def _is_short(args: tuple[Any, ...]) -> bool:
    return all(
        type(value) in NUMBERS or (type(value) in (str, bytes) and len(value) <= _SHORT)  # immutable, and no more
        for value in args
    )


class CallRun(Task):
    """Some calls with one worker. Outcomes come in order; ``done`` counts them."""

    __slots__ = ("_items", "_lease", "_name", "calls", "done", "options", "session")

    overhead = RUN_OVERHEAD
    counts = False
    attempts = _NO_ATTEMPTS

    def __init__(self, calls: list[Any], items: list[tuple[Any, ...]], name: bytes) -> None:
        self.calls = calls
        self.done = 0
        self.session = calls[0].session
        self.options = calls[0].options
        self._items = items
        self._name = name
        self._lease: Any = None

    @property
    def lease(self) -> Any:
        return self._lease

    @lease.setter
    def lease(self, lease: Any) -> None:
        self._lease = lease
        for call in self.calls:
            call.lease = lease

    def name(self) -> str:
        return str(self.calls[0].name())

    def size(self) -> int:
        return len(self.calls)

    def at(self, item: int) -> Task:
        return self if item == ALL_ITEMS else self.calls[item]

    def index(self, task: Task) -> int:
        return self.calls.index(task)

    def cut(self, item: int) -> Task | None:
        if item == 0 and not self.done:
            return self
        rest = self.calls[item:]
        if not rest:
            return None
        self.calls = self.calls[:item]
        run = CallRun(rest, self._items[item:], self._name)
        run.lease = None
        return run

    def isolate(self, item: int) -> tuple[list[Task], Task | None]:
        rest = self.cut(item + 1)
        return self.parts(), rest

    def parts(self) -> list[Task]:
        self.lease = None
        return [call for call in self.calls[self.done :] if call.is_open()]

    singles = parts

    def start(self) -> bool:
        return True

    def encode(self, lease: int) -> tuple[tuple[Any, ...], list[int]]:
        items: list[Any] = self._items
        how = STAMPED if self.session.engine.observed() else 0
        if set(map(len, items)) == {1}:
            items = [args[0] for args in items]
        else:
            how |= STAR
        return (lease, self._name, how, pickle.dumps(items, 5)), []

    def note_progress(self, item: int, done: float, total: float | None) -> None:
        if item >= self.done:
            self.calls[item].note_progress(0, done, total)

    def outcome(self, item: int, value: Any, error: BaseException | None) -> bool | None:
        if item == ALL_ITEMS:
            assert error is not None
            self.fail(error)
            return True
        if item != self.done:
            return None
        self.done = item + 1
        self.calls[item].outcome(0, value, error)
        return self.done == len(self.calls)

    def outcomes(self, item: int, values: list[Any], *, plain: bool) -> int:
        """The results of consecutive calls, from that one on: how many were not known. With the lock."""
        values = values[self.done - item :] if item <= self.done else []
        for call, value in zip(self.calls[self.done :], values, strict=False):
            call.outcome(0, value, None)
        self.done += len(values)
        return len(values)

    def fail(self, error: BaseException) -> None:
        for number, call in enumerate(self.parts()):
            call.fail(error if number == 0 else copy_of(error))
            self.session.engine.resolve(call, failed=True)
        self.done = len(self.calls)

    def is_open(self) -> bool:
        return self.done < len(self.calls)
