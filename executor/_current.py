"""What a task can learn of where it runs. Set by the worker; None in any other process."""

from __future__ import annotations

import threading
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple

    class WorkerInfo(NamedTuple):
        """The worker that runs this code. ``slot`` is 0 to max_workers - 1 and never shared by two live workers."""

        id: int
        slot: int
        name: str
        pid: int

    class TaskInfo(NamedTuple):
        """The task that runs now. ``attempt`` counts from 1."""

        name: str
        attempt: int
else:
    WorkerInfo = namedtuple("WorkerInfo", "id slot name pid")
    TaskInfo = namedtuple("TaskInfo", "name attempt")

__all__ = ["TaskInfo", "WorkerInfo", "current_task", "current_worker", "function_name", "put_off", "undisturbed"]

_worker: WorkerInfo | None = None
_is_busy = False  # the main thread is in `undisturbed`
_put_off: Callable[[], None] | None = None
_call: Any = None  # the function that runs, or (name, attempt)
_place: Any = None  # tells the lease that runs, and its item
_send_note: Any = None  # tells the parent something of the task that runs: a tag, then facts


def function_name(fn: Any) -> str:
    """How a function is called in messages: module and qualified name where it has them."""
    while hasattr(fn, "func"):  # functools.partial
        fn = fn.func
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    module = getattr(fn, "__module__", None)
    return f"{module}.{name}" if module and module not in ("builtins", "__main__", "__mp_main__") else str(name)


def take_slot(slot: int) -> None:
    """In a worker: its slot is known now."""
    global _worker
    assert _worker is not None
    _worker = _worker._replace(slot=slot)


def undisturbed(action: Callable[..., object], *args: Any) -> None:
    """Call what a soft timeout must not leave half-way, or what would swallow it: it is raised afterwards. Any thread;
    signals are handled in the main thread alone.
    """
    global _is_busy, _put_off
    if _is_busy or threading.current_thread() is not threading.main_thread():
        action(*args)
        return
    _is_busy = True
    try:
        action(*args)
    finally:
        _is_busy = False
        again, _put_off = _put_off, None
        if again is not None:
            again()


def put_off(again: Callable[[], None]) -> bool:
    """In a signal's handler: whether ``again`` is to be called when `undisturbed` comes to its end."""
    global _put_off
    if _is_busy:
        _put_off = again
    return _is_busy


def current_worker() -> WorkerInfo | None:
    """The worker that runs this code, None outside of one. In a task, an initializer or a finalizer."""
    return _worker


def current_task() -> TaskInfo | None:
    """The task that runs this code, None outside of one."""
    if _call is None:
        return None
    if isinstance(_call, tuple):
        return TaskInfo(*_call)
    return TaskInfo(function_name(_call), 1)
