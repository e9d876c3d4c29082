"""A thread that does one thing after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

log = logging.getLogger("executor")


class Clerk:
    """``put`` may be called from any thread, also from a finalizer or a signal handler; it never blocks."""

    def __init__(self, name: str, after_each: Callable[[], object], at_the_end: Callable[[], object]) -> None:
        self._queue: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = SimpleQueue()
        self._after_each = after_each
        self._at_the_end = at_the_end
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, act: Callable[..., object], *arguments: Any) -> None:
        self._queue.put((act, arguments))

    def finish(self) -> None:
        """Do what is there, then the last thing, and end."""
        self._queue.put(None)

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def _work(self) -> None:
        while self._do_next():
            pass
        self._do(self._at_the_end, ())

    def _do_next(self) -> bool:
        # A function of its own: nothing of what was done may live on while the queue is empty.
        item = self._queue.get()
        if item is not None:
            self._do(*item)
            self._do(self._after_each, ())
        return item is not None

    def _do(self, act: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        try:
            act(*arguments)
        except BaseException:  # sys.exit() in a done callback, for one: nobody else could settle the rest
            log.exception("%s raised; what follows goes on", getattr(act, "__qualname__", act))
