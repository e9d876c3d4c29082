"""WorkerManager: warm workers that outlive the executors which borrow them."""

from __future__ import annotations

import signal
import weakref
from functools import partial
from time import monotonic

from ._engine import Engine
from ._errors import ForkedExecutor
from ._losses import Stopped
from ._session import Session
from ._settings import Settings
from ._worker import WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.context import BaseContext
    from types import TracebackType
    from typing import Any, Literal, Self

    from ._options import Options
    from ._policy import Backoff, RestartIntensity
    from ._stats import Stats

__all__ = ["WorkerManager", "end_all"]

_TERMINATE_WITHIN = 5.0  # seconds from SIGTERM to SIGKILL
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class WorkerManager:
    """Owns worker processes and the loop that talks to them. Executors made with ``manager=`` borrow its workers.

    The arguments are those of `ProcessPoolExecutor` that concern workers. Several executors, from several threads,
    may borrow at once; each ends its own tasks only. ``shutdown`` (or the end of ``with``) ends the workers.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | str | None = None,
        max_age_per_child: float | None = None,
        idle_timeout: float | None = None,
        min_workers: int = 0,
        finalizer: Callable[[], object] | None = None,
        restart_intensity: RestartIntensity | None = None,
        backoff: Backoff | None = None,
        resources: Mapping[str, int] | None = None,
        forward_logging: bool | Literal["always"] = True,
        env: Mapping[str, str] | None = None,
        worker_threads: int | Literal["auto"] | None = None,
    ) -> None:
        self._settings = Settings(
            max_workers,
            mp_context,
            initializer,
            initargs,
            max_tasks_per_child=max_tasks_per_child,
            max_memory_per_child=max_memory_per_child,
            max_age_per_child=max_age_per_child,
            idle_timeout=idle_timeout,
            min_workers=min_workers,
            finalizer=finalizer,
            restart_intensity=restart_intensity,
            backoff=backoff,
            resources=resources,
            forward_logging=forward_logging,
            env=env,
            worker_threads=worker_threads,
        )
        self._engine = Engine(self._settings)
        _engines.add(self._engine)
        self._closed = False

    def _open_session(self, options: Options) -> Session:
        if self._engine.forked:
            raise ForkedExecutor(self._engine.owner_pid)
        if self._closed:
            raise RuntimeError("this WorkerManager has been shut down")
        return Session(self._engine, options)

    def _kill_session(self, session: Session, *, everything: bool) -> None:
        """Kill the workers that run tasks of this session, or all of them; what they ran is cancelled."""
        engine = self._engine
        with engine.lock:
            victims = [
                (worker, Stopped())
                for worker in engine.supervisor.workers.values()
                if everything or any(lease.task.session is session for lease in worker.leases.values())
            ]
        engine.supervisor.kill_all(list(victims))

    def _end_session(self, session: Session, *, kill: bool) -> None:
        """Signal the workers of this session (of an executor's own manager: all)."""
        engine = self._engine
        with engine.lock:
            own = [
                worker
                for worker in engine.supervisor.workers.values()
                if len(engine.sessions) <= 1 or any(lease.task.session is session for lease in worker.leases.values())
            ]
            for worker in own:
                if kill or worker.state is WorkerState.STARTING:
                    engine.supervisor.kill(worker, None)
                else:
                    worker.signal(signal.SIGTERM)
                    engine.loop.call_at(
                        monotonic() + _TERMINATE_WITHIN,
                        partial(engine.supervisor.kill, worker, None),
                    )

    def stats(self) -> Stats:
        """A snapshot: counters over all executors that borrow now, and one row for each worker."""
        from ._stats import snapshot

        return snapshot(self._engine, list(self._engine.sessions))

    def metrics(self) -> str:
        """The same in the OpenMetrics text form; with a histogram of task durations since this was first called."""
        from ._metrics import metrics

        return metrics(self._engine, list(self._engine.sessions))

    def worker_stacks(self, timeout: float = 1.0) -> dict[str, str]:
        """The Python stack of each worker, now, by the worker's name; the workers are not stopped."""
        from ._stats import worker_stacks

        return worker_stacks(self._engine, timeout)

    def shutdown(self, wait: bool = True) -> None:
        """End the workers, after the tasks that executors have submitted. Any thread."""
        if self._closed or self._engine.forked:
            return
        self._closed = True
        _end(self._engine, "the WorkerManager has been shut down", wait=wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def __del__(self) -> None:
        # May run at any point: no locks. The engine of an executor is ended by the executor.
        engine = self.__dict__.get("_engine")
        if engine is None or engine.forked or engine.loop.closed:
            return
        if engine._started:
            engine.loop.call_soon(lambda: _end_abandoned(engine))
        else:
            engine.loop.free()


def _end_abandoned(engine: Engine) -> None:
    """Nobody holds the manager any more: its workers go when no executor borrows them."""
    with engine.lock:
        if engine.sessions:
            return
    engine.stop()


def _end(engine: Engine, why: str, *, wait: bool) -> None:
    with engine.lock:
        sessions = list(engine.sessions)
        for session in sessions:
            session.close(why)
    for session in sessions:
        if wait:
            session.wait_until_done()
    engine.stop()
    if wait:
        engine.join()


def end_all(interrupted: bool) -> None:
    """At the end of the program: finish what is submitted, then end the workers."""
    for engine in list(_engines):
        if not engine.forked and engine._started and not engine.loop.closed:
            _end(engine, "cannot schedule new futures after interpreter shutdown", wait=True)
