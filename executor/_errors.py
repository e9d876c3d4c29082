"""What can go wrong with a worker, as exceptions that carry facts.

    BrokenProcessPool (concurrent.futures)
      WorkerLost                 the worker that ran the task has gone
        MemoryQuotaExceeded      it was killed because it held too much memory
      InitializerError           workers cannot be initialised
      RestartLimitReached        workers cannot be kept alive at all
    TimeoutError (built in)
      TaskTimeout                the task ran longer than it may
      SoftTimeout                raised inside the task, so that it can clean up
    RuntimeError
      ForkedExecutor             a forked child touched its parent's executor
      DependencyFailed           a future among the arguments failed, so the task did not run
    queue.Full
      TooManyPending             `max_pending` calls are not done, and whoever submits is not to wait
    Exception
      RemoteException            stands for an exception that could not be pickled or rebuilt

Each keeps its facts as attributes, makes its sentence from them, and can be pickled.
"""

from __future__ import annotations

import queue
import signal
from concurrent.futures.process import BrokenProcessPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "UNGUARDED_MAIN",
    "Attempt",
    "DependencyFailed",
    "ForkedExecutor",
    "InitializerError",
    "MemoryQuotaExceeded",
    "RemoteException",
    "RestartLimitReached",
    "SoftTimeout",
    "TaskTimeout",
    "TooManyPending",
    "WorkerLost",
    "describe_exit",
    "signal_name",
]

UNGUARDED_MAIN = (
    "The main module starts an executor while a worker imports it: put the code that uses the executor "
    'under `if __name__ == "__main__":`, or pass mp_context="loky", whose workers do not import the main module.'
)


def signal_name(exitcode: int | None) -> str | None:
    """The name of the signal behind a negative exit code, None for any other code."""
    if exitcode is None or exitcode >= 0:
        return None
    try:
        return signal.Signals(-exitcode).name
    except ValueError:
        return f"signal {-exitcode}"


def describe_exit(exitcode: int | None) -> str:
    """How a process ended, in words."""
    if exitcode is None:
        return "with an unknown exit code"
    name = signal_name(exitcode)
    return f"by {name}" if name else f"with exit code {exitcode}"


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], facts: dict[str, Any]) -> BaseException:
    error = cls.__new__(cls, *args)
    error.__dict__.update(facts)
    return error


class _Facts(BaseException):
    """Pickles by facts: the constructor's signature may differ from ``args``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class Attempt(tuple[int, str]):
    """One run of a task that was lost: ``pid`` of the worker and the ``cause`` in words."""

    __slots__ = ()

    def __new__(cls, pid: int, cause: str) -> Attempt:
        return super().__new__(cls, (pid, cause))

    def __getnewargs__(self) -> tuple[int, str]:
        return self.pid, self.cause

    @property
    def pid(self) -> int:
        return self[0]

    @property
    def cause(self) -> str:
        return self[1]


class WorkerLost(_Facts, BrokenProcessPool):
    """The worker that ran this task has gone; only this task is affected.

    Attributes: ``worker`` its name, ``pid``, ``exitcode`` (negative: killed by that signal; None:
    unknown), ``signal_name``, ``task`` the name of the function, ``attempts`` every run that was lost
    (the last one included), ``peak_memory`` in bytes or None, ``crash_log`` what faulthandler wrote,
    ``out_of_memory`` whether it was, most likely, the kernel's out-of-memory killer.
    """

    def __init__(
        self,
        *,
        worker: str = "",
        pid: int = 0,
        exitcode: int | None = None,
        task: str = "",
        attempts: tuple[Attempt, ...] = (),
        peak_memory: int | None = None,
        crash_log: str = "",
        reason: str = "",
        out_of_memory: bool = False,
    ) -> None:
        super().__init__()
        self.worker = worker
        self.pid = pid
        self.exitcode = exitcode
        self.task = task
        self.attempts = attempts
        self.peak_memory = peak_memory
        self.crash_log = crash_log
        self.reason = reason
        self.out_of_memory = out_of_memory

    @property
    def signal_name(self) -> str | None:
        return signal_name(self.exitcode)

    def _how(self) -> str:
        if self.out_of_memory:
            return "was killed by the kernel's out-of-memory killer (SIGKILL)"
        return self.reason or f"ended {describe_exit(self.exitcode)}"

    def __str__(self) -> str:
        doing = f" while it ran {self.task}" if self.task else ""
        text = f"worker {self.worker} (pid {self.pid}) {self._how()}{doing}"
        if len(self.attempts) > 1:
            runs = "; ".join(f"pid {attempt.pid}: {attempt.cause}" for attempt in self.attempts)
            text += f"; {len(self.attempts)} attempts were lost ({runs})"
        if self.crash_log:
            text += f"\n{self.crash_log.rstrip()}"
        return text


class MemoryQuotaExceeded(WorkerLost):
    """The worker was killed while it ran this task: it held more memory than it may.

    Attributes, beside those of WorkerLost: ``limit`` and ``resident``, both in bytes.
    """

    def __init__(self, *, limit: int = 0, resident: int = 0, **facts: Any) -> None:
        super().__init__(**facts)
        self.limit = limit
        self.resident = resident

    def _how(self) -> str:
        return f"was killed: it held {self.resident:,} bytes of memory, its limit is {self.limit:,},"


class TaskTimeout(_Facts, TimeoutError):
    """The task ran longer than its time limit; its worker was killed.

    Attributes: ``task``, ``timeout`` in seconds, ``pid``, ``stack`` (the Python stack the task was in).
    """

    def __init__(self, *, task: str = "", timeout: float = 0.0, pid: int = 0, stack: str = "") -> None:
        super().__init__()
        self.task = task
        self.timeout = timeout
        self.pid = pid
        self.stack = stack

    def __str__(self) -> str:
        text = f"{self.task} ran longer than its limit of {self.timeout:g} s; its worker (pid {self.pid}) was killed"
        return f"{text}\n{self.stack.rstrip()}" if self.stack else text


class SoftTimeout(TimeoutError):
    """Raised inside a task when its soft time limit is reached, so that it can clean up and return."""


class InitializerError(_Facts, BrokenProcessPool):
    """Workers cannot be initialised; ``__cause__`` is the initializer's own exception."""

    def __init__(self, detail: str = "the initializer failed") -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"no worker could be initialised: {self.detail}"


class RestartLimitReached(_Facts, BrokenProcessPool):
    """Workers died too often, with no running task to explain it; ``__cause__`` is the last reason."""

    def __init__(self, *, deaths: int = 0, period: float = 0.0, detail: str = "") -> None:
        super().__init__()
        self.deaths = deaths
        self.period = period
        self.detail = detail

    def __str__(self) -> str:
        if self.deaths <= 1 and self.detail:
            return self.detail
        text = f"{self.deaths} workers died within {self.period:g} s without a task to explain it"
        return f"{text}: {self.detail}" if self.detail else text


class ForkedExecutor(_Facts, RuntimeError):
    """This process was forked from the one that made the executor; its workers belong to the parent."""

    def __init__(self, owner: int = 0) -> None:
        super().__init__()
        self.owner = owner

    def __str__(self) -> str:
        return (
            f"this executor belongs to process {self.owner}, from which this one was forked: "
            "make an executor of its own in the child"
        )


class DependencyFailed(_Facts, RuntimeError):
    """The task did not run: a future among its arguments failed; ``__cause__`` is what that one raised."""

    def __init__(self, task: str = "") -> None:
        super().__init__()
        self.task = task

    def __str__(self) -> str:
        return f"{self.task} did not run: a future among its arguments failed"


class TooManyPending(_Facts, queue.Full):
    """Nothing was submitted: as many calls as ``max_pending`` allows are not done, and ``when_full`` is "raise"."""

    def __init__(self, limit: int = 0) -> None:
        super().__init__()
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.limit} calls are not done, which is max_pending: submit when one of them is"


class RemoteException(_Facts, Exception):
    """Stands for an exception of a worker that could not be pickled, or not be rebuilt here.

    Attributes: ``type_name`` (module and name), ``text`` (its str()), ``traceback_text``, ``reason`` (why
    it could not travel).
    """

    def __init__(self, type_name: str = "", text: str = "", traceback_text: str = "", reason: str = "") -> None:
        super().__init__(type_name, text)
        self.type_name = type_name
        self.text = text
        self.traceback_text = traceback_text
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text} (the exception itself could not be brought here: {self.reason})"
