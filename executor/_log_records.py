"""How a log record or a warning travels from a worker to its parent: a pickled tuple that can always be read.

    ("log", fields, pickles, text, call)     fields: plain values as they are; pickles: name -> pickle of any other;
                                             where message or arguments are not plain: the text that they make, and
                                             a pickle of both if there can be one
    ("warning", message, categories, text, filename, lineno, module)     the first two are pickles, or None

What cannot be pickled there or loaded here arrives as text.
"""

from __future__ import annotations

import logging
import pickle
import traceback

from ._pickling import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["dump_record", "dump_warning", "load_record", "load_warning"]

_OWN = frozenset(("msg", "args", "exc_info", "exc_text"))


def dump_record(record: logging.LogRecord) -> bytes:
    """In the worker. Never raises on account of what the record holds."""
    fields: dict[str, Any] = {}
    pickles: dict[str, bytes] = {}
    for name, value in record.__dict__.items():
        if name in _OWN:
            continue
        data = None if type(value) in PLAIN else _pickled(value)
        if data is not None:
            pickles[name] = data
        else:
            fields[name] = value if type(value) in PLAIN else _safely(repr, value)
    fields["exc_text"] = record.exc_text
    if record.exc_info and not record.exc_text:
        fields["exc_text"] = _safely(_format, record.exc_info)
    text = call = None
    msg, args = record.msg, record.args
    if type(msg) is str and (not args or (type(args) is tuple and PLAIN.issuperset(map(type, args)))):
        fields["msg"], fields["args"] = msg, args
    else:
        text = _safely(_message, record)
        call = _pickled((msg, args))
    return pickle.dumps(("log", fields, pickles, text, call), 5)


def load_record(fields: dict[str, Any], pickles: dict[str, bytes], text: str | None, call: bytes | None) -> Any:
    """In the parent: the record."""
    fields["exc_info"] = None
    for name, data in pickles.items():
        value, failure = _loaded(data)
        fields[name] = value if failure is None else failure
    if text is not None:
        both, failure = _loaded(call) if call is not None else ((text, None), None)
        fields["msg"], fields["args"] = both if failure is None else (text, None)
    return logging.makeLogRecord(fields)


def dump_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, module: str | None
) -> bytes:
    """In the worker. ``module``: the name of the module that warned, where it is known."""
    # A category that the parent cannot import is told by the nearest of its bases that it can.
    categories = [_pickled(kind) for kind in category.__mro__ if issubclass(kind, Warning)]
    text = _safely(str, message)
    return pickle.dumps(("warning", _pickled(message), categories, text, filename, lineno, module), 5)


def load_warning(message: bytes | None, categories: list[bytes | None], text: str) -> Warning:
    """In the parent: the warning itself, or another of its category with its text."""
    if message is not None:
        value, failure = _loaded(message)
        if failure is None and isinstance(value, Warning):
            return value
    for data in categories:
        kind, failure = _loaded(data) if data is not None else (None, "")
        if failure is None and isinstance(kind, type) and issubclass(kind, Warning):
            try:
                return kind(text)
            except Exception:  # one with arguments of its own
                continue
    return UserWarning(text)


def _pickled(value: object) -> bytes | None:
    try:
        return pickle.dumps(value, 5)
    except Exception:
        return None


def _loaded(data: bytes) -> Any:
    """The value, or why it cannot be had."""
    try:
        return pickle.loads(data), None
    except Exception as failure:
        return None, f"<cannot be loaded: {type(failure).__name__}: {_safely(str, failure)}>"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as failure:  # arguments that do not fit: in one process, a handler would say so
        return f"{_safely(str, record.msg)} {_safely(repr, record.args)} ({type(failure).__name__}: {failure})"


def _format(exc_info: Any) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


def _safely(make: Callable[[Any], str], value: Any) -> str:
    try:
        return str(make(value))
    except Exception as failure:
        return f"<no text: {type(failure).__name__}>"
