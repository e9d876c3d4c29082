"""How one task is to be run: the executor's defaults, or those with what `options()` changed."""

from __future__ import annotations

import threading

from ._policy import positive
from ._resources import parse_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from typing import Any

__all__ = ["Options"]


class _Derived:
    """What follows from options, and is none."""

    __slots__ = ("calls_back", "goes_alone", "placed", "requirement", "watched")


class Options(_Derived):
    """Immutable; shared by all tasks submitted with it."""

    __slots__ = (
        "callback",
        "callback_thread",
        "cancel_running",
        "context",
        "error_callback",
        "key",
        "name",
        "priority",
        "resources",
        "retries",
        "retry_on_timeout",
        "slot",
        "soft_timeout",
        "timeout",
        "when_full",
    )

    def __init__(
        self,
        *,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        retries: int = 0,
        retry_on_timeout: bool = False,
        cancel_running: bool = False,
        priority: float = 0,
        callback: Any = None,
        error_callback: Any = None,
        callback_thread: Any = None,
        name: str | None = None,
        slot: int | None = None,
        key: Hashable | None = None,
        resources: Mapping[str, int] | None = None,
        when_full: str = "wait",
        context: Any = None,
    ) -> None:
        if not isinstance(retries, int) or retries < 0:
            raise ValueError("retries must be an integer >= 0")
        for function in (callback, error_callback):
            if function is not None and not callable(function):
                raise TypeError("a callback must be a callable")
        if callback_thread is not None and not (
            isinstance(callback_thread, threading.Thread) or hasattr(callback_thread, "call_soon_threadsafe")
        ):
            raise TypeError("callback_thread must be a thread or an asyncio loop")
        self.timeout = positive(timeout, "timeout")
        self.soft_timeout = positive(soft_timeout, "soft_timeout")
        self.retries = retries
        self.retry_on_timeout = retry_on_timeout
        self.cancel_running = cancel_running
        self.priority = priority
        self.callback = callback
        self.error_callback = error_callback
        self.calls_back = callback is not None or error_callback is not None
        self.callback_thread = callback_thread
        self.name = name
        if slot is not None and (isinstance(slot, bool) or not isinstance(slot, int)):
            raise TypeError(f"slot is to be an int, not {type(slot).__name__}")
        if slot is not None and key is not None:
            raise ValueError("either slot or key: each says which worker is to run the task")
        hash(key)  # TypeError for what cannot be one
        if when_full not in ("wait", "raise"):
            raise ValueError(f'when_full is to be "wait" or "raise", not {when_full!r}')
        self.when_full = when_full
        self.slot = slot
        self.key = key
        self.resources = resources
        self.requirement = parse_resources(resources)
        self.placed = slot is not None or key is not None or bool(self.requirement)
        if context is not None:
            from ._contexts import check_context

            context = check_context(context)
        self.context = context
        # Whether the clock matters to a task with these options.
        self.watched = self.timeout is not None or self.soft_timeout is not None
        # Whether a call with these options has a lease of its own.
        self.goes_alone = self.watched or self.placed or cancel_running or name is not None

    def changed(self, changes: dict[str, Any]) -> Options:
        """These with some of them replaced; raises TypeError for a name that is none."""
        unknown = changes.keys() - set(self.__slots__)
        if unknown:
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}; the options are {', '.join(self.__slots__)}")
        return Options(**{name: getattr(self, name) for name in self.__slots__} | changes)
