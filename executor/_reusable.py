"""One executor for the whole process, in loky's sense."""

from __future__ import annotations

import threading
from functools import partial

from ._executor import ProcessPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["get_reusable_executor"]

_lock = threading.Lock()
_executor: ProcessPoolExecutor | None = None  # guarded by _lock
_arguments: dict[str, Any] = {}  # what it was made with, but for max_workers; guarded by _lock


def get_reusable_executor(max_workers: int | None = None, **arguments: Any) -> ProcessPoolExecutor:
    """The process-wide executor, with warm workers: the one there is, resized where ``max_workers`` differs.

    Takes the arguments of `ProcessPoolExecutor`. Resizing does not wait: pending work goes on, workers that are
    missing start when they are needed, superfluous ones end when they have finished what they hold. Where other
    arguments differ, or after shutdown, or when its workers could not be started, it is a new executor; the one
    before finishes its work first. Any thread.
    """
    global _executor, _arguments
    with _lock:
        executor = _executor
        if executor is not None and _is_usable(executor):
            if arguments == _arguments and (executor._owns_manager or max_workers is None):
                if executor._owns_manager:
                    _resize(executor, max_workers)
                return executor
            executor.shutdown(wait=False)
        _executor, _arguments = ProcessPoolExecutor(max_workers, **arguments), arguments
        return _executor


def _is_usable(executor: ProcessPoolExecutor) -> bool:
    session = executor._session
    return session.closed is None and not session.engine.forked and session.engine.usable


def _resize(executor: ProcessPoolExecutor, max_workers: int | None) -> None:
    from ._settings import check_max_workers, check_min_workers

    engine = executor._session.engine
    max_workers = check_max_workers(max_workers)
    check_min_workers(engine.settings.min_workers, max_workers)
    with engine.lock:
        if max_workers == executor._max_workers:
            return
        executor._max_workers = max_workers
        if engine._started:
            engine.loop.call_soon(partial(engine.supervisor.resize, max_workers))
            engine.loop.call_soon(engine.on_resized)
            engine.loop.call_soon(engine.supervisor.start_needed)
        else:
            engine.supervisor.resize(max_workers)
