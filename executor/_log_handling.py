"""In the parent: what workers need to know of its logging and warnings, and what becomes of their records.

One state for the whole process, since loggers and filters are the process's.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
import traceback
import warnings

from ._interrupt import reaches_here
from ._log_records import load_record, load_warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any

    from ._worker import Worker

__all__ = ["current_state", "handle", "tell"]

_MARK = "executor"
_lock = threading.Lock()
_version = 0  # guarded by _lock, as all below
_state = b""
_filters: list[Any] = []  # those in the state
_filters_list: Any = None  # the list that they were in: whoever saves and restores filters puts another in its place


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def current_state() -> tuple[int, bytes]:
    """The levels and filters that hold now, pickled for `_forwarding.apply`, and their version. Any thread.

    Cheap when nothing has changed: whoever changes a level empties the loggers' caches, and our mark goes with them.
    """
    filters = warnings.filters
    if _MARK in logging.root._cache and filters is _filters_list and filters == _filters:  # type: ignore[attr-defined]
        return _version, _state
    return _renew()


def _renew() -> tuple[int, bytes]:
    global _version, _state, _filters, _filters_list
    with _lock:
        logging.root._cache[_MARK] = True  # type: ignore[attr-defined]  # first: a change meanwhile takes it off again
        _filters_list = warnings.filters
        _filters = list(warnings.filters)
        state = pickle.dumps((logging.root.manager.disable, _levels(), _dump_filters(_filters)), 5)
        if state != _state:
            _state = state
            _version += 1
        return _version, _state


def _levels() -> dict[str, tuple[int, bool]]:
    """Every logger that has a level of its own or is disabled."""
    known = list(logging.root.manager.loggerDict.items())
    levels = {name: (it.level, it.disabled) for name, it in known if isinstance(it, logging.Logger)}
    levels = {name: it for name, it in levels.items() if it != (logging.NOTSET, False)}
    return {"root": (logging.root.level, logging.root.disabled), **levels}


def _dump_filters(filters: list[Any]) -> list[bytes]:
    """Each by itself, its category by name: what cannot be pickled of some does not keep the others."""
    dumped = []
    for entry in filters:
        try:
            action, message, category, module, lineno = entry
            where = category.__module__, category.__qualname__
            dumped.append(pickle.dumps((action, message, where, module, lineno), 5))
        except Exception:
            continue
    return dumped


def tell(worker: Worker) -> None:
    """Let a worker know of the levels and filters if they have changed. With the manager's lock."""
    version, state = current_state()
    if version != worker.logging_version:
        worker.post_logging(version, state)


def handle(notes: deque[Any]) -> None:
    """Give each to the loggers or the warnings of this process. Only for the loop's leader, without the lock."""
    while notes:
        kind, *note = notes.popleft()
        try:
            if kind == "log":
                _handle_record(*note)
            else:
                _handle_warning(*note)
        except BaseException as error:
            if reaches_here(error):
                raise
            if logging.raiseExceptions and sys.stderr is not None:
                traceback.print_exc()


def _handle_record(fields: dict[str, Any], pickles: dict[str, bytes], text: str | None, call: bytes | None) -> None:
    logger = logging.getLogger(fields["name"])
    if logger.isEnabledFor(fields["levelno"]):  # it may have changed since
        record = load_record(fields, pickles, text, call)
        record.levelname = logging.getLevelName(record.levelno)
        logger.handle(record)


_registries: dict[str, dict[Any, Any]] = {}  # by file: which warnings of workers were shown


def _handle_warning(
    message: bytes | None, categories: list[bytes | None], text: str, filename: str, lineno: int, module: str | None
) -> None:
    warning = load_warning(message, categories, text)
    category = type(warning)
    registry = _registries.setdefault(filename, {})
    try:
        warnings.warn_explicit(warning, category, filename, lineno, module=module, registry=registry)
    except Warning as raised:
        if raised is not warning:
            raise
        # The filters make an error of it, and there is no call here that it could be raised in.
        key = "told", str(warning), category, lineno
        if key not in registry:
            registry[key] = True
            warnings.showwarning(warning, category, filename, lineno)
