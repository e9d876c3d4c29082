"""What runs in a Dask worker: one call, from bytes to bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from distributed import get_worker
from distributed.utils import sync

from executor._exceptions import dump_exception

from ._ledger import BEGIN
from ._parcel import Hole, dump, load


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a call shows the ledger before it begins."""

    client: str
    topic: str
    attempts: int  # how often it may begin under its present key


class TaskRaised(Exception):
    """The call itself raised; this carries its error.  ``key`` tells its own from a dependency's."""

    def __init__(self, key: str, summary: str, error: bytes) -> None:
        super().__init__(key, summary, error)
        self.key = key
        self.summary = summary
        self.error = error

    def __str__(self) -> str:
        return self.summary

    def __repr__(self) -> str:
        return f"TaskRaised({self.summary})"  # what Dask logs


class NotBegun(Exception):
    """The ledger said no: ``answer`` is "cancelled" or "lost"."""

    def __init__(self, key: str, answer: str) -> None:
        super().__init__(key, answer)
        self.key = key
        self.answer = answer


def run(call: bytes, ticket: Ticket, *results: bytes) -> bytes:
    """Ask the ledger, then run the call; its pickled value.  ``results`` fill the holes of its arguments."""
    worker: Any = get_worker()
    key = worker.get_current_task()
    answer = sync(
        worker.loop,
        getattr(worker.scheduler, BEGIN),
        key=key,
        worker=worker.address,
        pid=os.getpid(),
        client=ticket.client,
        topic=ticket.topic,
        attempts=ticket.attempts,
    )
    if answer != "yes":
        raise NotBegun(key, answer)
    try:
        return _call(call, results)
    except BaseException as error:  # SystemExit too: it is the call's outcome, not the worker's end
        summary, dumped = _summary(error), dump_exception(error)
    # Not inside the except block: Dask pickles an exception's context with it, and that one may not pickle.
    raise TaskRaised(key, summary, dumped)


def _call(call: bytes, results: tuple[bytes, ...]) -> bytes:
    fn, args, kwargs = load(call)

    def fill(value: Any) -> Any:
        return load(results[value.index]) if type(value) is Hole else value

    value = fn(*map(fill, args), **{name: fill(value) for name, value in kwargs.items()})
    return dump(value)


def _summary(error: BaseException) -> str:
    """One line.  Dask would replace an exception whose text is long by one of its own."""
    try:
        text = str(error)
    except BaseException:
        text = "(its text cannot be made)"
    return f"{type(error).__name__}: {text[:500]}"


Outcome = tuple[bool, bytes]


def run_chunk(fn: Any, items: list[tuple[Any, ...]]) -> list[Outcome]:
    """Call ``fn`` with each tuple of arguments.  An error costs its own item only."""
    return [_run_item(fn, item) for item in items]


def _run_item(fn: Any, item: tuple[Any, ...]) -> Outcome:
    try:
        return True, dump(fn(*item))
    except BaseException as error:
        return False, dump_exception(error)
