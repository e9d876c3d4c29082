"""How an exception travels: itself where it can be pickled and rebuilt, always its type's name, text and traceback.

What stands for it is a tuple of plain values, so that it can always be read:

    (pickle of the exception or None, pickle of (class, args, attributes) or None, type name, text, traceback text)
"""

from __future__ import annotations

import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["dump_exception", "load_exception", "remote_cause"]


def remote_cause(text: str) -> Exception:
    """The cause that shows a worker's traceback, in the standard pool's form."""
    from concurrent.futures import process  # a worker that starts has no use for it

    standard: Any = process
    cause: Exception = standard._RemoteTraceback(f'\n"""\n{text}"""')
    return cause


def dump_exception(error: BaseException) -> bytes:
    """In the worker. Never raises on account of the exception."""
    from ._pickling import encode

    text = _safely(_format, error)
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
        try:
            parts = pickle.dumps((type(error), error.args, error.__dict__), 5)
        except BaseException:
            parts = None
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return pickle.dumps((whole, parts, name, _safely(str, error), text, reason), 5)


def _format(error: BaseException) -> str:
    import traceback  # the same

    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _safely(make: Callable[[Any], str], error: BaseException) -> str:
    try:
        return str(make(error))
    except BaseException as failure:
        return f"<no text: {type(failure).__name__}>"


def load_exception(data: bytes | memoryview) -> BaseException:
    """In the parent: the exception, with the worker's traceback as its cause. Never raises on account of it."""
    whole, parts, name, text, traceback_text, reason = pickle.loads(data)
    error = _rebuild(whole, parts)
    if not isinstance(error, BaseException):
        from ._errors import RemoteException

        if isinstance(error, str):
            reason = error
        error = RemoteException(name, text, traceback_text, reason)
    failure: BaseException = error
    failure.__cause__ = remote_cause(traceback_text)
    return failure


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
