"""What the scheduler deals in: one call with its options, which resolves exactly once.

`Future` (one call), `CallRun` (several of these, with one worker) and `MapRun` (items of a map) are the kinds of it.
All methods are called with the manager's lock held unless they say otherwise.
"""

from __future__ import annotations

from ._errors import Attempt
from ._messages import ALL_ITEMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any

    from ._options import Options
    from ._session import Session
    from ._worker import Worker

__all__ = ["RUN_OVERHEAD", "Run", "Task"]

RUN_OVERHEAD = 2e-7  # seconds that one of a run of calls costs beside its own time


class Task:
    """The interface; a mixin without state of its own."""

    __slots__ = ()

    splits = False  # whether it may be leased in portions
    overhead = 4e-6  # seconds: what a call costs beside its own time
    counts = True  # whether its session counts it: the calls of a `CallRun` are counted each
    traced: Any = None  # what a trace keeps with it (`_trace`)

    if TYPE_CHECKING:

        @property
        def lease(self) -> tuple[Worker, int] | None:
            """Where it is, while it is leased."""

        @lease.setter
        def lease(self, lease: tuple[Worker, int] | None) -> None: ...
        @property
        def attempts(self) -> tuple[Attempt, ...]: ...
        @attempts.setter
        def attempts(self, attempts: tuple[Attempt, ...]) -> None: ...
        @property
        def session(self) -> Session: ...
        @session.setter
        def session(self, session: Session) -> None: ...
        @property
        def options(self) -> Options: ...
        @options.setter
        def options(self, options: Options) -> None: ...

    def name(self) -> str:
        """How the task is called in messages."""
        raise NotImplementedError

    def named_by(self) -> Any:
        """The name that it was given, or else the function that it is named after."""
        raise NotImplementedError

    def estimate_key(self) -> Any:
        """What tasks that take about as long have in common."""
        raise NotImplementedError

    def size(self) -> int:
        """How many calls this stands for."""
        return 1

    def portion(self, most: int) -> Task:
        """A task of at most that many of its calls; this one keeps the rest. Only where ``splits``."""
        raise NotImplementedError

    def cut(self, item: int) -> Task | None:
        """What has not begun, from that item on, as a task of its own; this one is without it."""
        return self

    def isolate(self, item: int) -> tuple[list[Task], Task | None]:
        """The call that a dead worker was running, and what it had not begun."""
        return [self], None

    def joined(self, queue: deque[Task], most: int) -> Task:
        """With those that can go to a worker together with it, taken off the front of the queue; at most so many."""
        return self

    def at(self, item: int) -> Task:
        """The task whose outcome that of an item is."""
        return self

    def index(self, task: Task) -> int:
        """Which item has that task for its own."""
        return 0

    def parts(self) -> list[Task]:
        """What goes back to the queue in its place."""
        return [self] if self.is_open() else []

    def singles(self) -> list[Task]:
        """One task for each of its calls."""
        return [self]

    def start(self) -> bool:
        """It is leased now; False when it is not to run (it was cancelled meanwhile)."""
        raise NotImplementedError

    def encode(self, lease: int) -> tuple[tuple[Any, ...], list[int]]:
        """The call for the wire and its descriptors. Without the lock; raises whatever pickling raises."""
        raise NotImplementedError

    def note_unpicklable(self, error: BaseException) -> None:
        """`encode` has raised this: say at it what cannot be pickled. Without the lock; raises nothing of its own."""

    def note_progress(self, item: int, done: float, total: float | None) -> None:
        """The call (the item) that runs has told how far it is."""

    def outcome(self, item: int, value: Any, error: BaseException | None) -> bool | None:
        """The outcome of the call (of an item). True when the whole task is resolved now, None if it was known."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Resolve what has no outcome yet with this error."""
        raise NotImplementedError

    def mark_cancelled(self) -> None:
        """Resolve what has no outcome yet as cancelled."""
        raise NotImplementedError

    def is_open(self) -> bool:
        """Whether something of it has no outcome yet."""
        raise NotImplementedError

    def has_callbacks(self) -> bool:
        """Whether `after` has anything to do."""
        return False

    def after(self) -> None:
        """Call back who waits for the outcome. Without the lock."""


class Run(Task):
    """Calls with one worker that share a lease: ``items``. Outcomes come in their order; ``done`` counts them."""

    __slots__ = ("done", "items")

    overhead = RUN_OVERHEAD

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.done = 0

    def size(self) -> int:
        return len(self.items)

    def is_open(self) -> bool:
        return self.done < len(self.items)

    def cut(self, item: int) -> Task | None:
        if item == 0 and not self.done:
            return self
        rest = self.items[item:]
        if not rest:
            return None
        self.items = self.items[:item]
        return self.behind(item, rest)

    def behind(self, item: int, rest: list[Any]) -> Task:
        """A run of these items, which were cut off from that one on."""
        raise NotImplementedError

    def outcome(self, item: int, value: Any, error: BaseException | None) -> bool | None:
        if item == ALL_ITEMS:
            assert error is not None
            self.fail(error)
            return True
        if item != self.done:
            return None
        self.settle(item, value, error)
        self.done = item + 1
        return not self.is_open()

    def settle(self, item: int, value: Any, error: BaseException | None) -> None:
        """The outcome of the item that is next."""
        raise NotImplementedError

    def outcomes(self, item: int, values: list[Any], *, plain: bool) -> int:
        """The results of consecutive items, from that one on: how many were not known. ``plain``: all are numbers."""
        values = values[self.done - item :] if item <= self.done else []
        if values:
            self.settle_series(values, plain=plain)
        self.done += len(values)
        return len(values)

    def settle_series(self, values: list[Any], *, plain: bool) -> None:
        """The results of the items that are next."""
        raise NotImplementedError
