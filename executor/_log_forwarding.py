"""In a worker that has imported logging: records go to the parent, and the parent's levels hold here.

A record that a handler of the worker's own takes (one that code in the worker has added) is that handler's alone, as
in any process. What no handler takes would go to ``logging.lastResort``: that is where the parent comes in. So nobody
finds a handler of ours on the root logger, and `logging.basicConfig` works as ever.

What was there before the initializer runs is no handler of the worker's own: it came with the fork, or with the main
module, whose parent has the same. It is put aside, so that a record does not appear twice.
"""

from __future__ import annotations

import logging

from . import _current
from ._log_records import dump_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["apply", "install", "leave"]

_send: Callable[[bytes], None] | None = None  # None: this process forwards nothing
_always = False  # also what a handler of the worker's own takes
_set_aside: list[Any] = []  # not closed: their files and buffers are the parent's
_levels: dict[str, tuple[int, bool]] = {}  # what was last set here, by the parent's word; never empty after that
_disable = 0  # the same


def install(send: Callable[[bytes], None], *, always: bool) -> None:
    """Forward from now on. ``send`` takes a message for the parent, from any thread."""
    global _send, _always
    _send, _always = send, always
    _levels.clear()  # of another worker, where this one is its fork
    for logger in _loggers():
        _set_aside.extend(logger.handlers)
        logger.handlers = []
    logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]


def leave() -> None:
    """In a child that a task has forked: it is no worker."""
    global _send
    _send = None


# --- log records ----------------------------------------------------------------------------------------------


def _call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
    """In place of logging.Logger.callHandlers: the parent is the last resort."""
    taken = False
    logger: logging.Logger | None = self
    while logger is not None:
        for handler in logger.handlers:
            taken = taken or not isinstance(handler, logging.NullHandler)
            if record.levelno >= handler.level:
                handler.handle(record)
        logger = logger.parent if logger.propagate else None
    if _send is None:
        if not taken and logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)
    elif not taken or _always:
        _current.undisturbed(_dump_and_send, _send, record)


def _dump_and_send(send: Callable[[bytes], None], record: logging.LogRecord) -> None:
    worker = _current.current_worker()
    if worker is not None and not hasattr(record, "worker"):  # or it comes from a worker of this one
        task = _current.current_task()
        record.worker = worker.name
        record.slot = worker.slot
        record.task = task.name if task is not None else None
    send(dump_record(record))


# --- the parent's levels ------------------------------------------------------------------------------------


def apply(disable: int, levels: dict[str, tuple[int, bool]]) -> None:
    """Set the levels of the parent here, but for what code in the worker has set since."""
    global _disable
    if logging.root.manager.disable == _disable or not _levels:
        logging.disable(disable)
        _disable = disable
    for name in _levels.keys() - levels.keys():
        _set_level(name, logging.NOTSET, False)
        del _levels[name]
    _levels.update({name: to for name, to in levels.items() if _set_level(name, *to)})


def _set_level(name: str, level: int, disabled: bool) -> bool:
    logger = logging.getLogger(name)
    if name in _levels and _levels[name] != (logger.level, logger.disabled):
        return False
    logger.setLevel(level)
    logger.disabled = disabled
    return True


def _loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]
