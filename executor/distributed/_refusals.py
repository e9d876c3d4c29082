"""What Dask cannot promise, and what to do instead.  docs/distributed.md shows these as its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENGINE = "Dask distributed"


class NotSupportedByEngine(NotImplementedError):
    """The engine under this executor cannot keep the promise that this call asks for.  Nothing was done.

    Attributes: ``promise`` as it was asked for, ``engine`` its name, ``instead`` what to do.
    """

    def __init__(self, promise: str, instead: str, engine: str = ENGINE) -> None:
        super().__init__(promise, instead, engine)
        self.promise = promise
        self.instead = instead
        self.engine = engine

    def __str__(self) -> str:
        return f"{self.engine} cannot keep {self.promise}: {self.instead}"


_TIME_LIMIT = (
    "its workers run tasks in threads, which nothing can stop; "
    "bound the wait with result(timeout=), or let the task watch the clock"
)
_SIZE = "how many workers there are is the cluster's business; start more of them, or cluster.scale(n)"
_INITIALIZER = "give the workers a distributed.WorkerPlugin (client.register_plugin), or dask worker --preload"
_RECYCLING = "start the workers with --lifetime, --lifetime-stagger and --lifetime-restart"
_OWN_LOGS = "the workers' output is with whoever started them; client.get_worker_logs() reads it"
_STOPPING = (
    "the workers belong to the cluster and may serve others; end them where they were started "
    "(scancel, kubectl, cluster.close()), or client.restart()"
)

# Arguments and options of ProcessPoolExecutor: the value that asks for nothing, and what to do instead.
REFUSED_ARGUMENTS: Mapping[str, tuple[Any, str]] = {
    "max_workers": (None, _SIZE),
    "min_workers": (0, _SIZE),
    "idle_timeout": (None, "use cluster.adapt(minimum=, maximum=)"),
    "mp_context": (None, "workers are started by the cluster, not by this process"),
    "initializer": (None, _INITIALIZER),
    "initargs": ((), _INITIALIZER),
    "finalizer": (None, "give the workers a distributed.WorkerPlugin with a teardown method"),
    "max_tasks_per_child": (None, _RECYCLING),
    "max_age_per_child": (None, _RECYCLING),
    "max_memory_per_child": (None, "a memory limit is a setting of the worker: dask worker --memory-limit"),
    "task_timeout": (None, _TIME_LIMIT),
    "timeout": (None, _TIME_LIMIT),
    "soft_timeout": (None, _TIME_LIMIT),
    "retry_on_timeout": (False, "there are no time limits to retry after"),
    "cancel_running": (False, "its workers run tasks in threads, which nothing can stop"),
    "restart_intensity": (None, "the nanny of each worker restarts it"),
    "backoff": (None, "the nanny of each worker restarts it"),
    "manager": (None, "the cluster keeps its workers warm by itself"),
    "max_pending": (None, "use map(buffersize=), or wait for futures before submitting more"),
    "when_full": ("wait", "use map(buffersize=), or wait for futures before submitting more"),
    "trace": (None, "use Dask's dashboard, or distributed.performance_report()"),
    "forward_logging": (False, _OWN_LOGS),
    "env": (None, "set the environment where the workers are started"),
    "worker_threads": (None, "set OMP_NUM_THREADS where the workers are started; a nanny sets it to 1"),
    "callback_thread": (
        None,
        "callbacks run on the thread that made the executor; hand them over from there",
    ),
    "context": (None, "pass the values as arguments"),
    "slot": (None, "Dask's workers have no slots; client.submit(workers=) pins a task to a worker"),
    "key": (None, "client.submit(workers=) pins a task to a worker"),
    "resources": (None, "start workers with --resources and use client.submit(resources=)"),
    "progress": (False, "use distributed.progress() or Dask's dashboard"),
}

# Methods of ProcessPoolExecutor.
REFUSED_METHODS: Mapping[str, str] = {
    "terminate_workers": _STOPPING,
    "kill_workers": _STOPPING,
    "worker_stacks": "use client.call_stack()",
    "broadcast": "use client.run(), which runs a function once in every worker",
    "metrics": "Dask's scheduler and workers serve their own, under /metrics of their dashboards",
}


def refuse_argument(name: str, value: Any) -> None:
    """NotSupportedByEngine where the value asks for something that Dask cannot promise."""
    if name in REFUSED_ARGUMENTS:
        neutral, instead = REFUSED_ARGUMENTS[name]
        if value is not None and value != neutral:
            raise NotSupportedByEngine(f"{name}=", instead)


def refuse_method(name: str) -> NotSupportedByEngine:
    return NotSupportedByEngine(f"{name}()", REFUSED_METHODS[name])
