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
from ._task import Run, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any

__all__ = ["join_calls"]

_MOST = 1024  # calls in a run: they are joined with the lock held
_SHORT = 1024  # bytes or characters: longer arguments go one by one


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
    futures, arguments = [first], [args]
    most = min(most, _MOST)
    while queue and len(futures) < most:
        future = queue[0]
        if type(future) is not kind or future.options is not options or future.session is not session:
            break
        call = future._call
        if call is None:  # cancelled
            queue.popleft()
            continue
        args = call[1]
        if call[0] is not fn or call[2] or future.attempts or not _is_short(args):
            break
        queue.popleft()
        futures.append(future)
        arguments.append(args)
    return CallRun(futures, arguments, name) if len(futures) > 1 else first


def _is_short(args: tuple[Any, ...]) -> bool:
    """Whether all are numbers, or text or bytes of no great length: nothing that could fail to be pickled."""
    return NUMBERS.issuperset(map(type, args)) or all(
        type(value) in NUMBERS or (type(value) in (str, bytes) and len(value) <= _SHORT) for value in args
    )


class CallRun(Run):
    """Some calls with one worker: its items are their futures."""

    __slots__ = ("_arguments", "_lease", "_name", "options", "session")

    counts = False
    attempts: tuple[Attempt, ...] = ()

    def __init__(self, futures: list[Any], arguments: list[tuple[Any, ...]], name: bytes) -> None:
        super().__init__(futures)
        self.session = futures[0].session
        self.options = futures[0].options
        self._arguments = arguments
        self._name = name
        self._lease: Any = None

    @property
    def lease(self) -> Any:
        return self._lease

    @lease.setter
    def lease(self, lease: Any) -> None:
        self._lease = lease
        for future in self.items:
            future.lease = lease

    def name(self) -> str:
        return str(self.items[0].name())

    def at(self, item: int) -> Task:
        return self if item == ALL_ITEMS else self.items[item]

    def index(self, task: Task) -> int:
        return self.items.index(task)

    def behind(self, item: int, rest: list[Any]) -> Task:
        run = CallRun(rest, self._arguments[item:], self._name)
        run.lease = None
        return run

    def isolate(self, item: int) -> tuple[list[Task], Task | None]:
        rest = self.cut(item + 1)
        return self.parts(), rest

    def parts(self) -> list[Task]:
        self.lease = None
        return [future for future in self.items[self.done :] if future.is_open()]

    singles = parts

    def start(self) -> bool:
        return True

    def encode(self, lease: int) -> tuple[tuple[Any, ...], list[int]]:
        arguments: list[Any] = self._arguments
        how = STAMPED if self.session.engine.observed() else 0
        if set(map(len, arguments)) == {1}:
            arguments = [args[0] for args in arguments]
        else:
            how |= STAR
        return (lease, self._name, how, pickle.dumps(arguments, 5)), []

    def note_progress(self, item: int, done: float, total: float | None) -> None:
        if item >= self.done:
            self.items[item].note_progress(0, done, total)

    def settle(self, item: int, value: Any, error: BaseException | None) -> None:
        self.items[item].outcome(0, value, error)

    def settle_series(self, values: list[Any], *, plain: bool) -> None:
        for future, value in zip(self.items[self.done :], values, strict=False):
            future.outcome(0, value, None)

    def fail(self, error: BaseException) -> None:
        for number, future in enumerate(self.parts()):
            future.fail(error if number == 0 else copy_of(error))
            self.session.engine.resolve(future, failed=True)
        self.done = len(self.items)
