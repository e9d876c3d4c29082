"""What became of a task that did not return, in the words of a trace."""

from __future__ import annotations

__all__ = ["how_it_ended", "text_of"]

_MOST = 300  # characters of an error


def how_it_ended(error: BaseException | None) -> str:
    """The outcome of a task that no worker has told."""
    from concurrent.futures import CancelledError

    from ._errors import MemoryQuotaExceeded, TaskTimeout, WorkerLost

    if error is None or isinstance(error, CancelledError):
        return "cancelled"
    if isinstance(error, TaskTimeout):
        return "timeout"
    return "lost" if isinstance(error, (WorkerLost, MemoryQuotaExceeded)) else "error"


def text_of(error: BaseException) -> str:
    """What an error says, as far as that runs nobody's code: the engine's lock is held."""
    kind = type(error)
    text: object = ""
    if kind.__module__.startswith("executor."):
        text = str(error)
    else:
        arguments = BaseException.args.__get__(error)  # type: ignore[attr-defined]  # a getset descriptor
        if arguments:
            text = arguments[0]
    return f"{kind.__qualname__}: {text[:_MOST]}" if type(text) is str and text else kind.__qualname__
