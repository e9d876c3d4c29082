"""A process pool that does not break, keeps its workers within quotas and calls back on the parent thread.

The layers, from the face to the processes; imports point down only:

    ProcessPoolExecutor (_executor)   Pool (_pool)      the contracts
    WorkerManager (_manager)          Session           who owns workers, who borrows them
    Engine (_engine, _revocation, _losses, ...)         brings tasks and workers together
    Backlog · Supervisor · Watch                        what runs next; who is alive; what the clock decides
    Future · Map (Task)   Worker                        what is to be done; a process
    Loop   Channel   StatusBlock   pickling             how it gets there

Everything is imported when it is first used: `import executor` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import (
        ALL_COMPLETED,
        FIRST_COMPLETED,
        FIRST_EXCEPTION,
        BrokenExecutor,
        CancelledError,
        InvalidStateError,
    )
    from concurrent.futures import TimeoutError as TimeoutError
    from concurrent.futures.process import BrokenProcessPool

    from ._current import TaskInfo, WorkerInfo, current_task, current_worker
    from ._errors import (
        Attempt,
        DependencyFailed,
        ForkedExecutor,
        InitializerError,
        MemoryQuotaExceeded,
        RemoteException,
        RestartLimitReached,
        SoftTimeout,
        TaskTimeout,
        TooManyPending,
        WorkerLost,
    )
    from ._executor import ProcessPoolExecutor
    from ._executor import ProcessPoolExecutor as Executor
    from ._future import Future
    from ._logger import log_to_stderr
    from ._manager import WorkerManager
    from ._policy import Backoff, RestartIntensity
    from ._pool import Pool
    from ._progress import report_progress
    from ._reusable import get_reusable_executor
    from ._robust_lock import Holder, HolderDied, RobustLock
    from ._share import Shared, share
    from ._stats import Stats, WorkerStats
    from ._waiting import as_completed, wait

__version__ = "0.1.0"

_STANDARD = "concurrent.futures"
_HOMES = {
    "ALL_COMPLETED": _STANDARD,
    "FIRST_COMPLETED": _STANDARD,
    "FIRST_EXCEPTION": _STANDARD,
    "BrokenExecutor": _STANDARD,
    "CancelledError": _STANDARD,
    "InvalidStateError": _STANDARD,
    "TimeoutError": _STANDARD,
    "BrokenProcessPool": "concurrent.futures.process",
    "Attempt": "executor._errors",
    "Backoff": "executor._policy",
    "DependencyFailed": "executor._errors",
    "Executor": "executor._executor",
    "ForkedExecutor": "executor._errors",
    "Future": "executor._future",
    "Holder": "executor._robust_lock",
    "HolderDied": "executor._robust_lock",
    "InitializerError": "executor._errors",
    "MemoryQuotaExceeded": "executor._errors",
    "Pool": "executor._pool",
    "ProcessPoolExecutor": "executor._executor",
    "RemoteException": "executor._errors",
    "RestartIntensity": "executor._policy",
    "RestartLimitReached": "executor._errors",
    "RobustLock": "executor._robust_lock",
    "Shared": "executor._share",
    "SoftTimeout": "executor._errors",
    "Stats": "executor._stats",
    "TaskInfo": "executor._current",
    "TaskTimeout": "executor._errors",
    "TooManyPending": "executor._errors",
    "WorkerInfo": "executor._current",
    "WorkerLost": "executor._errors",
    "WorkerManager": "executor._manager",
    "WorkerStats": "executor._stats",
    "as_completed": "executor._waiting",
    "current_task": "executor._current",
    "current_worker": "executor._current",
    "get_reusable_executor": "executor._reusable",
    "log_to_stderr": "executor._logger",
    "report_progress": "executor._progress",
    "share": "executor._share",
    "wait": "executor._waiting",
}
__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Attempt",
    "Backoff",
    "BrokenExecutor",
    "BrokenProcessPool",
    "CancelledError",
    "DependencyFailed",
    "Executor",
    "ForkedExecutor",
    "Future",
    "Holder",
    "HolderDied",
    "InitializerError",
    "InvalidStateError",
    "MemoryQuotaExceeded",
    "Pool",
    "ProcessPoolExecutor",
    "RemoteException",
    "RestartIntensity",
    "RestartLimitReached",
    "RobustLock",
    "Shared",
    "SoftTimeout",
    "Stats",
    "TaskInfo",
    "TaskTimeout",
    "TimeoutError",
    "TooManyPending",
    "WorkerInfo",
    "WorkerLost",
    "WorkerManager",
    "WorkerStats",
    "as_completed",
    "current_task",
    "current_worker",
    "get_reusable_executor",
    "log_to_stderr",
    "report_progress",
    "share",
    "wait",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), "ProcessPoolExecutor" if name == "Executor" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
