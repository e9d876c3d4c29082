"""What a task can learn of where it runs. Set by the worker; None in any other process."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
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

__all__ = ["TaskInfo", "WorkerInfo", "current_task", "current_worker", "function_name"]

_worker: WorkerInfo | None = None
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
