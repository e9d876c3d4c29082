"""How an exception travels: itself where it can be pickled and rebuilt, always its type's name, text and traceback.

What pickle leaves behind comes too: its cause and its context, theirs, and those of the members of exception groups.
What stands for all of them is a tuple of plain values, so that it can always be read:

    ([node, ...], traceback text, where it was raised)      the first node is the exception itself

    node:  (content, in words, members, cause, context, suppress_context)     others by their places in the list

Arrived, the exception has the remote traceback as its ``__cause__``, as in the standard pool. That stands in the
exception's own place in the chain: its ``__cause__``, ``__context__`` and ``__suppress_context__`` are those that the
exception had where it was raised.
"""

from __future__ import annotations

import pickle

from . import _current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Place = Callable[[BaseException | None], int]

__all__ = ["dump_exception", "load_exception", "remote_cause", "take_place"]

_MOST = 1000  # exceptions that come with one
_NONE = -1
_OURS = ("executor._worker_main", "executor._main_globals")  # they run the tasks
_GROUPS = (ExceptionGroup, BaseExceptionGroup)  # these are built anew from their members


def remote_cause(text: str) -> Exception:
    """The cause that shows a worker's traceback, in the standard pool's form."""
    from concurrent.futures import process  # a worker that starts has no use for it

    standard: Any = process
    cause: Exception = standard._RemoteTraceback(f'\n"""\n{text}"""')
    return cause


def take_place(new: BaseException, old: BaseException) -> None:
    """Give ``new`` the place in the chain that ``old`` has."""
    new.__cause__, new.__context__ = old.__cause__, old.__context__
    new.__suppress_context__ = old.__suppress_context__


# --- where it was raised ----------------------------------------------------------------------------------------


def dump_exception(error: BaseException) -> bytes:
    """In the worker. Never raises on account of the exception."""
    text = _safely(_format, error)
    found, place = _collect(error)
    nodes = [_node(each, place) for each in found]
    return pickle.dumps((nodes, text, _safely(_where, error)), 5)


def _collect(error: BaseException) -> tuple[list[BaseException], Place]:
    """All exceptions of the chain, and how one is found in the list."""
    found = [error]
    places = {id(error): 0}
    for each in found:  # it grows meanwhile
        for other in (each.__cause__, each.__context__, *_members(each)):
            if other is not None and id(other) not in places and len(found) < _MOST:
                places[id(other)] = len(found)
                found.append(other)
    return found, lambda other: _NONE if other is None else places.get(id(other), _NONE)


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return BaseExceptionGroup.exceptions.__get__(error) if isinstance(error, BaseExceptionGroup) else ()


def _node(error: BaseException, place: Place) -> tuple[Any, ...]:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    members = [place(member) for member in _members(error)]
    whole, parts, reason = None, None, ""
    if kind in _GROUPS and _NONE not in members:
        parts = _try_to_pickle((kind, error.message, error.__dict__))  # type: ignore[attr-defined]  # a group
    if parts is None:
        whole, parts, reason = _contents(error)
    words = name, _safely(str, error), _notes(error), reason
    links = place(error.__cause__), place(error.__context__), error.__suppress_context__
    return (whole, parts), words, members, *links


def _contents(error: BaseException) -> tuple[bytes | None, bytes | None, str]:
    """Its pickle; what it can be rebuilt from if it cannot be loaded; why there is no pickle."""
    from ._pickling import encode

    whole = parts = None
    reason = ""
    try:
        data = encode(error)
        if isinstance(data, bytes):
            whole = data
        else:
            data.close()
            whole = pickle.dumps(error, 5)
    except BaseException as failure:
        reason = f"{type(failure).__name__}: {_safely(str, failure)}"
    # A class that says itself how it is rebuilt is left to that.
    if type(error).__module__ != "builtins" and type(error).__reduce__ is BaseException.__reduce__:
        parts = _try_to_pickle((type(error), error.args, error.__dict__))
    return whole, parts, reason


def _try_to_pickle(value: object) -> bytes | None:
    try:
        return pickle.dumps(value, 5)
    except BaseException:
        return None


def _format(error: BaseException) -> str:
    import traceback  # a worker that starts has no use for it

    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in _OURS:
        frames = frames.tb_next  # it tells a reader nothing
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _where(error: BaseException) -> str:
    """In words; nothing where this is no worker."""
    worker, task = _current.current_worker(), _current.current_task()
    if worker is None:
        return ""
    place = f"in {worker.name} (pid {worker.pid})"
    if task is None:
        return f"raised {place}"
    attempt = f", attempt {task.attempt}" if task.attempt > 1 else ""
    return f"raised by {task.name} {place}{attempt}"


def _notes(error: BaseException) -> list[str]:
    try:
        notes = error.__dict__.get("__notes__")
    except Exception:
        return []
    return [note for note in notes if type(note) is str] if isinstance(notes, list) else []


def _safely(make: Callable[[Any], str], error: BaseException) -> str:
    try:
        return str(make(error))
    except BaseException as failure:
        return f"<no text: {type(failure).__name__}>"


# --- where it arrives -------------------------------------------------------------------------------------------


def copy_of(error: BaseException) -> BaseException:
    """One exception for each future: a traceback belongs to one raise."""
    import copy

    try:
        twin = copy.copy(error)
    except Exception:
        return error
    twin.__cause__ = error.__cause__
    return twin


def load_exception(data: bytes | memoryview) -> BaseException:
    """In the parent: the exception, with the worker's traceback as its cause. Never raises on account of it."""
    nodes, text, where = pickle.loads(data)
    made = _Made(nodes, text)
    error = made.get(0)
    made.link()
    remote = remote_cause(text)
    if where:
        remote.add_note(where)
    take_place(remote, error)
    error.__cause__ = remote
    return error


class _Made:
    """The exceptions of a chain, made from their nodes, each once."""

    def __init__(self, nodes: list[Any], text: str) -> None:
        self._nodes = nodes
        self._text = text
        self._made: dict[int, BaseException] = {}

    def get(self, place: int) -> BaseException:
        if place not in self._made:
            self._take(place, self._make(self._nodes[place]))
        return self._made[place]

    def _take(self, place: int, error: BaseException) -> None:
        """That is the one; and so are the members that it brings."""
        members = self._nodes[place][2]
        self._made[place] = error
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == len(members):
            for member, made in zip(members, error.exceptions, strict=True):
                if member != _NONE and self._made.get(member) is not made:
                    self._take(member, made)

    def _make(self, node: tuple[Any, ...]) -> BaseException:
        (whole, parts), (name, text, notes, reason), members, *_ = node
        if members and whole is None and parts is not None and not reason:
            made = self._group(parts, members)
        else:
            made = _rebuild(whole, parts)
        if not isinstance(made, BaseException):
            from ._errors import RemoteException

            made = RemoteException(name, text, self._text, made or reason)
        error: BaseException = made
        if notes and not _notes(error):
            for note in notes:
                error.add_note(note)
        return error

    def _group(self, facts: bytes, members: list[int]) -> Any:
        """A group of members that were made one by one; why it cannot be had, as text."""
        try:
            kind, message, attributes = pickle.loads(facts)
            group = kind(message, [self.get(member) for member in members])
            group.__dict__.update(attributes)
            return group
        except BaseException as failure:
            return f"{type(failure).__name__}: {_safely(str, failure)}"

    def link(self) -> None:
        for place, (*_, cause, context, suppress) in enumerate(self._nodes):
            if cause == context == _NONE and not suppress:
                continue
            error = self.get(place)
            error.__cause__ = None if cause == _NONE else self.get(cause)
            error.__context__ = None if context == _NONE else self.get(context)
            error.__suppress_context__ = suppress


def _rebuild(whole: bytes | None, parts: bytes | None) -> Any:
    """The exception; or why it cannot be had, as text."""
    reason = None
    if whole is not None:
        try:
            return pickle.loads(whole)
        except BaseException as failure:  # an __init__ may raise anything, SystemExit too
            reason = f"{type(failure).__name__}: {_safely(str, failure)}"
    if parts is not None:
        try:
            kind, args, attributes = pickle.loads(parts)
            error = kind.__new__(kind, *args)
            error.args = args
            error.__dict__.update(attributes)
            return error
        except BaseException as failure:
            reason = reason or f"{type(failure).__name__}: {_safely(str, failure)}"
    return reason
