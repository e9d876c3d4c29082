"""One executor for the whole process, in loky's sense."""

from __future__ import annotations

import threading

from ._executor import ProcessPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["get_reusable_executor"]

_lock = threading.Lock()
_executor: ProcessPoolExecutor | None = None  # guarded by _lock
_arguments: dict[str, Any] = {}  # guarded by _lock


def get_reusable_executor(max_workers: int | None = None, **arguments: Any) -> ProcessPoolExecutor:
    """The process-wide executor: the same warm pool for the same arguments, a new one for others or after shutdown.

    Takes the arguments of `ProcessPoolExecutor`. A pool that is replaced finishes its work first.
    """
    global _executor, _arguments
    arguments = {"max_workers": max_workers, **arguments}
    with _lock:
        executor = _executor
        usable = executor is not None and executor._session.closed is None and not executor._session.engine.forked
        if executor is not None and usable and arguments == _arguments:
            return executor
        if executor is not None and usable:
            executor.shutdown(wait=False)
        _executor, _arguments = ProcessPoolExecutor(**arguments), arguments
        return _executor
