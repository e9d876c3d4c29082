"""`map`: its caller sees an iterator, never a future, so none is made for an item.

Items go to workers in runs, sized by how long they turn out to take, one outcome an item. The status page tells which
item of a run a worker is at, so that errors, crashes, time limits and order are each item's own, whatever the size
of a run.

    Map      the whole: what was read of the input and not leased, what has come and was not fetched
    MapRun   some consecutive items of it, with one worker
"""

from __future__ import annotations

import pickle
from collections import deque
from itertools import chain, islice, repeat
from time import monotonic

from ._current import function_name
from ._errors import Attempt
from ._messages import STAMPED, STAR, TIMED
from ._pickling import NUMBERS, PLAIN, encode, encode_call
from ._policy import Estimates
from ._task import RUN_OVERHEAD, Run, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import Any

    from ._options import Options
    from ._session import Session

__all__ = ["LOOK_AHEAD", "Map"]

LOOK_AHEAD = 10_000  # items read ahead of the results that were fetched, where the caller sets no buffersize,
_FURTHER = 30_000  # and of those that take next to no time to read
_AT_ONCE = 64  # items that are read before they go on: at first,
_MOST_AT_ONCE = LOOK_AHEAD // 4  # and in the end,
_READ_WITHIN = 0.0005  # if reading them takes no more seconds
_POLL_EVERY = 256  # results fetched between two looks at what else has come


class _Raised:
    """An exception in the place of a result."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Series:
    """Consecutive results."""

    __slots__ = ("count", "results")

    def __init__(self, values: list[Any], plain: bool) -> None:
        self.count = len(values)
        self.results: Iterable[Any] = values
        if not plain:  # the caller is to hold the only reference to each
            values.reverse()
            self.results = map(list.pop, repeat(values, len(values)))


class Results(chain["Any"]):
    """What `map` returns. Results come in lists from a generator; handing out each takes no bytecode of ours."""

    lists: Generator[Iterable[Any], None, None]

    @classmethod
    def of(cls, lists: Generator[Iterable[Any], None, None]) -> Results:
        results: Results = cls.from_iterable(lists)  # type: ignore[assignment]  # typeshed: a chain
        results.lists = lists
        return results

    def close(self) -> None:
        """Give up the results not fetched; what has not begun does not begin any more."""
        self.lists.close()


class _Pending:
    """Items that were read and not leased, in the lists that they were read in."""

    __slots__ = ("_lists", "count")

    def __init__(self) -> None:
        self._lists: deque[list[Any]] = deque()
        self.count = 0

    def add(self, items: list[Any]) -> None:
        self._lists.append(items)
        self.count += len(items)

    def take(self, most: int) -> list[Any]:
        """The first of them, at most so many."""
        lists = self._lists
        taken = lists.popleft()
        while len(taken) < most and lists:
            taken += lists.popleft()
        if len(taken) > most:
            lists.appendleft(taken[most:])
            del taken[most:]
        self.count -= len(taken)
        return taken

    def clear(self) -> None:
        self._lists.clear()
        self.count = 0


class MapRun(Run):
    """Items ``first`` to ``first + len(items) - 1`` of a map."""

    __slots__ = ("attempts", "first", "lease", "map", "options", "session", "splits")

    def __init__(self, map: Map, first: int, items: list[Any], attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(items)
        self.map = map
        self.first = first
        self.attempts = attempts
        self.lease = None
        self.session = map.session
        self.options = map.options
        self.splits = len(items) > map.chunksize
        self.session.outstanding += 1

    def name(self) -> str:
        return self.map.name()

    @property
    def traced(self) -> Any:
        return self.map.traced

    def estimate_key(self) -> Any:
        return self.map.key

    def portion(self, most: int) -> Task:
        most = self.map.whole_chunks(most)
        part = MapRun(self.map, self.first, self.items[:most], self.attempts)
        self.items = self.items[most:]
        self.first += most
        if not self.items:
            self.session.on_resolved(self, False)
        return part

    def behind(self, item: int, rest: list[Any]) -> Task:
        return MapRun(self.map, self.first + item, rest)

    def isolate(self, item: int) -> tuple[list[Task], Task | None]:
        rest = self.cut(item + 1)
        if len(self.items) == 1 or self.done >= len(self.items):
            return [self], rest
        lost = MapRun(self.map, self.first + self.done, self.items[self.done :], self.attempts)
        self.items = self.items[: self.done]
        self.session.on_resolved(self, False)
        return [lost], rest

    def singles(self) -> list[Task]:
        if len(self.items) == 1:
            return [self]
        singles: list[Task] = [MapRun(self.map, self.first + n, [item]) for n, item in enumerate(self.items)]
        self.items = []
        self.session.on_resolved(self, False)
        return singles

    def start(self) -> bool:
        if self.map.closed:
            self.mark_cancelled()
            self.session.on_resolved(self, False)
            return False
        return True

    def encode(self, lease: int) -> tuple[tuple[Any, ...], list[int]]:
        items = self.items
        star = self.map.star
        # What a call of its own takes says nothing of how long a quick item takes in a run.
        if len(items) == 1 and not (type(items[0]) in NUMBERS and self.map.has_sent_runs()):
            args = tuple(items[0]) if star else (items[0],)
            payload, fds = encode_call((self.map.fn, args, {}), main_by_value=self.session.main_by_value)
            return (lease, payload) if fds is None else (lease, payload, len(fds)), fds or []
        fn = self.map.encoded_fn()
        how = STAR if star else 0
        if self.options.watched:
            how |= TIMED
        elif self.session.engine.observed():
            how |= STAMPED
        # Plain values cannot be changed, so one pickle may hold them all; others must not share objects across items.
        if not star and PLAIN.issuperset(map(type, items)):
            return (lease, fn, how, pickle.dumps(items, 5)), []
        parts = []
        for item in items:
            part = encode(item, main_by_value=self.session.main_by_value)
            if not isinstance(part, bytes):
                part.close()
                raise ValueError("large items go one by one")
            parts.append(part)
        return (lease, fn, how, parts), []

    def note_unpicklable(self, error: BaseException) -> None:
        from ._unpicklable import note_argument

        if len(self.items) == 1:  # a run is encoded again, item by item
            item = self.items[0]
            note_argument(error, (self.map.fn, tuple(item) if self.map.star else (item,), {}), item=self.first)

    def note_progress(self, item: int, done: float, total: float | None) -> None:
        bar = self.map.bar
        if bar is not None and item >= self.done:
            bar.note(self.first + item, done, total)

    def settle(self, item: int, value: Any, error: BaseException | None) -> None:
        self.map.put(self.first + item, value if error is None else _Raised(error))

    def settle_series(self, values: list[Any], *, plain: bool) -> None:
        self.map.put_series(self.first + self.done, values, plain=plain)

    def fail(self, error: BaseException) -> None:
        for item in range(self.done, len(self.items)):
            self.map.fail_item(self, self.first + item, error)
        self.done = len(self.items)

    def mark_cancelled(self) -> None:
        from concurrent.futures import CancelledError

        self.fail(CancelledError())


class Map(Task):
    """Fields are guarded by the engine's lock; the input is read by the thread that fetches results."""

    __slots__ = (
        "_at_once",
        "_buffersize",
        "_encoded_fn",
        "_exhausted",
        "_input",
        "_next",
        "_queued",
        "_read",
        "_results",
        "_started",
        "attempts",
        "bar",
        "chunksize",
        "closed",
        "fn",
        "key",
        "lease",
        "options",
        "pending",
        "session",
        "star",
        "traced",
        "waiters",
    )

    overhead = RUN_OVERHEAD
    splits = True

    def __init__(
        self,
        session: Session,
        options: Options,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: int,
        buffersize: int | None,
        bar: Any = None,
    ) -> None:
        self.session = session
        self.options = options
        self.fn = fn if options.context is None else session.in_context(fn, options)
        self.bar = bar  # a ProgressBar
        self.key = Estimates.key(fn)
        self.star = len(iterables) != 1
        self.chunksize = chunksize
        self.attempts = ()
        self.lease = None
        self.traced: Any = None
        self.pending = _Pending()
        self.waiters: list[Any] = []
        self.closed = False
        self._buffersize = buffersize
        self._at_once = _AT_ONCE
        if options.placed:
            session.check_placement(options)
        if options.calls_back:
            session.expect_callbacks(options)
        self._input: Iterator[Any] = zip(*iterables, strict=False) if self.star else iter(iterables[0])
        self._exhausted = False
        self._read = 0  # items read from the input
        self._next = 0  # items whose results were fetched
        self._results: dict[int, Any] = {}
        self._encoded_fn: bytes | None = None
        self._queued = False
        self._started = False

    # --- Task: leased in portions -----------------------------------------------------------------------------

    def name(self) -> str:
        return self.options.name or function_name(self.fn)

    def estimate_key(self) -> Any:
        return self.key

    def size(self) -> int:
        return self.pending.count

    def is_open(self) -> bool:
        return self.pending.count > 0

    def whole_chunks(self, most: int) -> int:
        """How many items a run is to have that should have no more than ``most``."""
        return max(1, most // self.chunksize) * self.chunksize

    def portion(self, most: int) -> Task:
        pending = self.pending
        first = self._read - pending.count
        run = MapRun(self, first, pending.take(self.whole_chunks(most)))
        if not pending.count:
            self._dequeue()
        return run

    def _dequeue(self) -> None:
        """Nothing is pending: the backlog drops it when it comes to it."""
        if self._queued:
            self._queued = False
            self.session.on_resolved(self, False)

    def fail(self, error: BaseException) -> None:
        first = self._read - self.pending.count
        for number in range(self.pending.count):
            self.fail_item(self, first + number, error)
        self.pending.clear()
        self._queued = False  # whoever drains the backlog books it

    def mark_cancelled(self) -> None:
        from concurrent.futures import CancelledError

        self.fail(CancelledError())

    # --- reading the input ------------------------------------------------------------------------------------

    def has_sent_runs(self) -> bool:
        return self._encoded_fn is not None

    def encoded_fn(self) -> bytes:
        if self._encoded_fn is None:
            data = encode(self.fn, main_by_value=self.session.main_by_value)
            if not isinstance(data, bytes):
                data.close()
                raise ValueError("a large function goes with each item")
            self._encoded_fn = data
        return self._encoded_fn

    def refill(self, *, everything: bool = False) -> None:
        """Read as much of the input as may be ahead of the results. The fetching thread, without the lock."""
        while not self._exhausted and not self.closed:
            limit = self._buffersize or (LOOK_AHEAD if self._at_once < _MOST_AT_ONCE else _FURTHER)
            room = self._at_once if everything else limit - (self._read - self._next)
            if room <= 0 or (not everything and self._buffersize is None and self._started and room < limit // 4):
                return
            wanted = min(room, self._at_once)
            began = monotonic()
            items = list(islice(self._input, wanted))
            if wanted == self._at_once < _MOST_AT_ONCE and monotonic() - began < _READ_WITHIN:
                self._at_once = min(2 * self._at_once, _MOST_AT_ONCE)
            if len(items) < wanted:
                self._exhausted = True
                self.session.maps.discard(self)
            if items:
                self._add(items)
            if self._exhausted and self.bar is not None:
                with self.session.lock:
                    self.bar.expect(self._read)

    def _add(self, items: list[Any]) -> None:
        with self.session.lock:
            self.session.check_open()
            self.pending.add(items)
            self._read += len(items)
            self.session.submitted += len(items)
            queue = not self._queued
            self._queued = True
            self.session.outstanding += queue  # as one task, whatever its size, while something is pending
        self.session.engine.submit(self, queue)

    def read_on(self) -> None:
        """At the end of the executor: submit what is left, if nobody has begun to fetch (nor given the results up).

        Not where a buffersize says how much may be read.
        """
        if self._buffersize is None and not self._started:
            self.refill(everything=True)

    # --- results ----------------------------------------------------------------------------------------------

    def put(self, number: int, value: Any) -> None:
        """With the lock."""
        self._results[number] = value
        session = self.session
        if type(value) is _Raised:
            session.failed += 1
        else:
            session.done += 1
        if self.options.calls_back:
            if type(value) is _Raised:
                session.queue_callback(self.options, None, value.error, self, number)
            else:
                session.queue_callback(self.options, value, None, self, number)
        if self.bar is not None:
            self.bar.count(number, type(value) is _Raised)
        self._wake(number)

    def put_series(self, number: int, values: list[Any], *, plain: bool) -> None:
        """``plain``: numbers all of them. With the lock."""
        if self._buffersize is not None or self.options.calls_back or self.bar is not None:
            for each, value in enumerate(values, number):
                self.put(each, value)
            return
        self.session.done += len(values)
        self._results[number] = _Series(values, plain)
        self._wake(number)

    def _wake(self, number: int) -> None:
        """The result of that item has come. With the lock."""
        if self.waiters and number == self._next:
            self.session.engine.loop.note_woken()
            for parked in self.waiters:
                parked.wake()

    def fail_item(self, task: Task, number: int, error: BaseException) -> None:
        """Without a worker's word. With the lock."""
        self.put(number, _Raised(error))
        tracer = self.session.engine.tracer
        if tracer is not None:
            tracer.item_ended(task, number, error)

    def results(self, deadline: float | None, return_exceptions: bool) -> Iterator[Any]:
        """The results in order."""
        return Results.of(self._result_lists(deadline, return_exceptions))

    def _result_lists(self, deadline: float | None, return_exceptions: bool) -> Generator[Iterable[Any], None, None]:
        """The results in order: each is fetched when the next is asked for."""
        self._started = True
        results = self._results
        loop = self.session.engine.loop
        eager = self._buffersize is not None
        due = 0  # when to read on
        try:
            while True:
                number = self._next
                if number not in results:
                    if number >= self._read:
                        self.refill()
                        if number >= self._read:
                            return
                    if not self.session.wait(lambda: number in results, deadline, self._waiters):  # noqa: B023
                        raise TimeoutError()
                value = results.pop(number)
                if type(value) is _Series:
                    yield value.results
                    self._next = number + value.count
                else:
                    self._next = number + 1
                if eager:
                    self.refill()
                elif self._next >= due:
                    due = self._next + _POLL_EVERY
                    self.refill()
                    loop.poll()
                if type(value) is _Series:
                    continue
                if type(value) is _Raised:
                    if not return_exceptions:
                        raise value.error
                    value = value.error
                box = [value]
                del value  # the caller is to hold the only reference
                yield map(list.pop, (box,))
        finally:
            self.close()

    def _waiters(self) -> list[Any]:
        return self.waiters

    def close(self) -> None:
        """What has not begun is not to begin any more. Any thread."""
        with self.session.lock:
            self.closed = True
            self.session.maps.discard(self)
            self.session.submitted -= self.pending.count
            self.pending.clear()
            self._dequeue()
            self._results.clear()
            # The backlog may keep this object for a while: it is not to keep the caller's.
            self.fn = _closed
            self._input = iter(())
            self._encoded_fn = None
        if self.bar is not None:
            self.bar.close()


def _closed(*args: object) -> None:
    """Takes the place of the function of a map that was given up."""


def deadline_of(timeout: float | None) -> float | None:
    return None if timeout is None else monotonic() + timeout


def map_by_submit(
    submit: Callable[..., Any],
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    deadline: float | None,
    buffersize: int | None,
    return_exceptions: bool,
    bar: Any = None,
) -> Iterator[Any]:
    """`map` for a subclass with a `submit` of its own, which is to see each call."""
    if bar is not None:
        submit = bar.watched(submit)
    source = zip(*iterables, strict=False)
    futures = deque(submit(fn, *args) for args in islice(source, buffersize))
    return _fetch(submit, fn, source, futures, deadline, return_exceptions, bar)


def _fetch(
    submit: Callable[..., Any],
    fn: Callable[..., Any],
    source: Iterator[Any],
    futures: deque[Any],
    deadline: float | None,
    return_exceptions: bool,
    bar: Any,
) -> Iterator[Any]:
    try:
        while futures:
            timeout = None if deadline is None else max(0.0, deadline - monotonic())
            error = futures[0].exception(timeout)
            future = futures.popleft()
            args = next(source, None)
            if args is not None:
                futures.append(submit(fn, *args))
            box = [error if error is not None and return_exceptions else future.result()]
            del future, error
            yield box.pop()
    finally:
        for future in futures:
            future.cancel()
        if bar is not None and futures:
            bar.close()
        elif bar is not None:
            bar.finish()
