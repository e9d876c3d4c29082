"""Ctrl-C: whether it is what ends a block, and whether an exception is it at all."""

from __future__ import annotations

import signal
import sys
import threading

__all__ = ["is_interrupt", "reaches_here"]


def reaches_here(error: BaseException) -> bool:
    """Whether this is Ctrl-C. It can only reach the main thread; elsewhere the user's code has raised it."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def is_interrupt(error: BaseException | None) -> bool:
    """Whether this is KeyboardInterrupt, or the cancellation that asyncio.run makes of it for the tasks in its loop."""
    if error is None or isinstance(error, KeyboardInterrupt):
        return error is not None
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    # While the main task runs, asyncio's handler knows; afterwards the loop is closed on account of the interrupt.
    runner = getattr(getattr(signal.getsignal(signal.SIGINT), "func", None), "__self__", None)
    return getattr(runner, "_interrupt_count", 0) > 0 or _follows_interrupt(error)


def _follows_interrupt(error: BaseException) -> bool:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return True
        seen.add(id(cause))
        cause = cause.__context__
    return isinstance(sys.exception(), KeyboardInterrupt)
