"""ProcessPoolExecutor: the contract of `concurrent.futures`, and what this package adds to it."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from concurrent.futures import process as _standard

from ._interrupt import is_interrupt
from ._start import launch_fork_server, refuse_while_importing_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from contextvars import ContextVar
    from multiprocessing.context import BaseContext
    from types import TracebackType
    from typing import Any, Literal, Self, TypeVar

    from ._future import Future
    from ._manager import WorkerManager
    from ._options import Options
    from ._policy import Backoff, RestartIntensity
    from ._session import Session
    from ._stats import Stats

    T = TypeVar("T")

__all__ = ["ProcessPoolExecutor", "Submitter"]

_AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"


class Submitter:
    """`submit` and `map` with certain options; what `ProcessPoolExecutor.options` gives."""

    def __init__(self, executor: ProcessPoolExecutor, options: Options) -> None:
        self._executor = executor
        self._options = options

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """As the executor's, with these options."""
        return self._executor._submit(self._options, fn, args, kwargs)

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], **how: Any) -> Iterator[T]:
        """As the executor's, with these options."""
        return self._executor._map(self._options, fn, iterables, **how)

    def map_unordered(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        buffersize: int | None = None,
        progress: bool | str = False,
    ) -> Iterator[T]:
        """As the executor's, with these options."""
        return self._executor._map_unordered(self._options, fn, iterables, buffersize, progress)

    def amap(self, fn: Callable[..., T], *iterables: Any, buffersize: int | None = None) -> AsyncIterator[T]:
        """As the executor's, with these options."""
        from ._asyncio import amap

        fn = self._executor._session.in_context(fn, self._options)  # of now, not of when an item is read
        return amap(self, fn, iterables, buffersize, self._executor._max_workers)

    def options(self, **changes: Any) -> Submitter:
        """These options with some of them changed."""
        return self._executor._submitter(self._options.changed(changes))

    def broadcast(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> list[Future[T]]:
        """As the executor's, with these options."""
        from ._broadcast import broadcast

        return broadcast(self._executor, self._options, fn, args, kwargs)


class ProcessPoolExecutor(_standard.ProcessPoolExecutor):
    """A pool of worker processes that one dead worker does not break.

    The first four arguments, and all standard methods, mean what they mean in `concurrent.futures`. Sizes are in
    bytes (an int, or text such as "512MB"), times in seconds; None is no limit. All methods may be called from
    any thread unless they say otherwise.

    ``max_workers``: default, the processors that this process may use (cgroup limits count).
    ``mp_context``: a multiprocessing context, or "fork", "spawn", "forkserver" (the default) or "loky".
    ``max_tasks_per_child``, ``max_memory_per_child``, ``max_age_per_child``: quotas of a worker; one that is over
    them is replaced, between tasks where it can wait.
    ``task_timeout``, ``soft_timeout``: how long a task may run; the second raises SoftTimeout inside it.
    ``task_retries``: runs again after its worker was lost; ``retry_on_timeout``: after a timeout too.
    ``idle_timeout``: how long an idle worker above ``min_workers`` is kept.
    ``cancel_running``: Future.cancel() also stops a task that runs.
    ``finalizer``: called in a worker before it retires.
    ``resources``: tokens for the whole pool, such as ``{"gpu": 2}``; see `options`.
    ``max_pending``: calls submitted and not done, those that run included; `submit` waits for room, and runs callbacks
    meanwhile, or raises TooManyPending if ``when_full`` is "raise". A map has its ``buffersize`` instead.
    ``forward_logging``: log records and warnings of workers reach this process's handlers and filters; "always": also
    the records that a handler added in the worker takes; False: neither.
    ``context``: context variables whose values at the time of a call hold in its task too, or "all" of them.
    ``env``: environment variables of workers, set before anything of the program's is imported in them.
    ``worker_threads``: how many threads numeric libraries may use in a worker (an int, or "auto": the processors
    divided by the workers), by OMP_NUM_THREADS and the like, where ``env`` or the environment do not say it.
    ``manager``: a WorkerManager whose workers this executor borrows; the arguments about workers are the manager's.
    ``trace``: a file to which a trace of all tasks and workers is written, complete when the executor has ended;
    OSError if it cannot be written. See `trace()`.
    ``monitor``: whether ``python -m executor top`` can show what the workers do; default, if the environment variable
    EXECUTOR_MONITOR is 1. OSError if it cannot.
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
        task_timeout: float | None = None,
        soft_timeout: float | None = None,
        task_retries: int = 0,
        retry_on_timeout: bool = False,
        idle_timeout: float | None = None,
        min_workers: int = 0,
        cancel_running: bool = False,
        finalizer: Callable[[], object] | None = None,
        restart_intensity: RestartIntensity | None = None,
        backoff: Backoff | None = None,
        forward_logging: bool | Literal["always"] = True,
        context: Iterable[ContextVar[Any]] | Literal["all"] | None = None,
        env: Mapping[str, str] | None = None,
        worker_threads: int | Literal["auto"] | None = None,
        manager: WorkerManager | None = None,
        resources: Mapping[str, int] | None = None,
        max_pending: int | None = None,
        when_full: str = "wait",
        trace: str | os.PathLike[str] | None = None,
        monitor: bool | None = None,
    ) -> None:
        # Not super().__init__(): nothing of the standard engine is wanted, only its face.
        if manager is None:
            own_environment = bool(env) or worker_threads is not None
            # It starts up while the rest of the package is imported.
            launch_fork_server(mp_context, initargs, own_environment)
        from ._manager import WorkerManager
        from ._options import Options

        if max_pending is not None:
            from ._room import Room, check_max_pending

            check_max_pending(max_pending)
        options = Options(
            timeout=task_timeout,
            soft_timeout=soft_timeout,
            retries=task_retries,
            retry_on_timeout=retry_on_timeout,
            cancel_running=cancel_running,
            when_full=when_full,
            context=context,
        )
        workers: dict[str, Any] = {
            "max_workers": max_workers,
            "mp_context": mp_context,
            "initializer": initializer,
            "initargs": initargs,
            "max_tasks_per_child": max_tasks_per_child,
            "max_memory_per_child": max_memory_per_child,
            "max_age_per_child": max_age_per_child,
            "idle_timeout": idle_timeout,
            "min_workers": min_workers,
            "finalizer": finalizer,
            "restart_intensity": restart_intensity,
            "backoff": backoff,
            "resources": resources,
            "env": env,
            "worker_threads": worker_threads,
        }
        if forward_logging is not True:
            workers["forward_logging"] = forward_logging
        self._owns_manager = manager is None
        if manager is None:
            manager = WorkerManager(**workers)
        else:
            given = [name for name, value in workers.items() if value not in (None, (), 0) or value is False]
            if given:
                raise ValueError(f"{given[0]} is the manager's: it cannot be given with manager=")
        self._manager = manager
        self._session: Session = manager._open_session(options)
        if max_pending is not None:
            self._session.room = Room(self._session, max_pending)
        # Libraries read these of the standard class.
        self._max_workers: int = manager._settings.max_workers
        self._mp_context: BaseContext = manager._settings.context
        _register_exit_hook()
        _live.add(self)
        self._collected = weakref.finalize(self, _end_quietly, self._session, self._owns_manager)
        self._collected.atexit = False
        if trace is not None or monitor or (monitor is None and "EXECUTOR_MONITOR" in os.environ):
            self._show(trace, monitor)

    def _show(self, trace: str | os.PathLike[str] | None, monitor: bool | None) -> None:
        session = self._session
        try:
            if trace is not None:
                from ._recording import start_trace

                start_trace(session.engine, trace, None if self._owns_manager else session)
            if monitor is not False:
                from ._monitor import show

                show(session.engine, asked=monitor is True)
        except BaseException:  # there will be no executor
            self._collected.detach()
            _finish(session, self._owns_manager)
            raise

    @property
    def _broken(self) -> str | bool:  # type: ignore[override]  # looked at, never set
        """What libraries look at: why no worker can be had at present. It does not last: a later submit tries again."""
        broken = self._session.engine.broken
        return str(broken) if broken is not None else False

    # --- submitting -----------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` in a worker; a future for it. Futures of this executor among the arguments
        are waited for, and the call gets their results.

        Raises RuntimeError after shutdown.
        """
        return self._submit(self._session.options, fn, args, kwargs)

    def _submit(
        self, options: Options, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[T]:
        session = self._session
        if not session.engine._started:
            refuse_while_importing_main()
        return session.submit(fn, args, kwargs, options)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: bool | str = False,
    ) -> Iterator[T]:
        """The results of ``fn`` over the items, in order.

        ``chunksize``: items that go to a worker together; 1 lets the executor decide by how long they take.
        ``buffersize``: at most that many items are read ahead of the results fetched, exactly; None: up to 30,000.
        ``timeout``: seconds from this call after which fetching raises TimeoutError.
        ``return_exceptions``: an exception takes the place of its result instead of being raised.
        ``progress``: True or a label shows a bar of tqdm (extra ``progress``), which counts items as they are done.
        Each item is a task of its own for errors, crashes, time limits and order.
        """
        return self._map(
            self._session.options,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            return_exceptions=return_exceptions,
            progress=progress,
        )

    def _map(
        self,
        options: Options,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: bool | str = False,
    ) -> Iterator[T]:
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        from ._map import Map, deadline_of, map_by_submit

        bar = self._progress_bar(progress, iterables)
        if type(self).submit is not ProcessPoolExecutor.submit:
            return map_by_submit(self.submit, fn, iterables, deadline_of(timeout), buffersize, return_exceptions, bar)
        if not self._session.engine._started:
            refuse_while_importing_main()
        deadline = deadline_of(timeout)
        with self._session.lock:
            self._session.check_open()
        work = Map(self._session, options, fn, iterables, chunksize, buffersize, bar)
        self._session.maps.add(work)
        work.refill()
        return work.results(deadline, return_exceptions)

    def map_unordered(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        buffersize: int | None = None,
        progress: bool | str = False,
    ) -> Iterator[T]:
        """The results of ``fn`` over the items, as they come. ``progress``: as for `map`."""
        return self._map_unordered(self._session.options, fn, iterables, buffersize, progress)

    def _map_unordered(
        self,
        options: Options,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        buffersize: int | None,
        progress: bool | str,
    ) -> Iterator[T]:
        from ._unordered import UnorderedResults

        fn = self._session.in_context(fn, options)  # of now, not of when an item is read
        bar = self._progress_bar(progress, iterables)
        return UnorderedResults(Submitter(self, options), fn, iterables, buffersize, bar)

    def _progress_bar(self, progress: bool | str, iterables: tuple[Iterable[Any], ...]) -> Any:
        if progress is False:
            return None
        from ._progress import ProgressBar

        with self._session.lock:
            self._session.check_open()
        return ProgressBar(self._session, progress, iterables)

    def amap(self, fn: Callable[..., T], *iterables: Any, buffersize: int | None = None) -> AsyncIterator[T]:
        """``async for`` over the results in order; reads at most ``buffersize`` items ahead (default: 2 a worker)."""
        return Submitter(self, self._session.options).amap(fn, *iterables, buffersize=buffersize)

    def options(self, **changes: Any) -> Submitter:
        """This executor's `submit` and `map` with other options: ``timeout``, ``soft_timeout`` (seconds),
        ``retries``, ``retry_on_timeout``, ``cancel_running``, ``priority`` (higher first), ``callback``,
        ``error_callback``, ``callback_thread``, ``name``, ``context``, ``when_full``, and where a task is to run:

        ``slot``: in the worker that has this slot. ``key``: tasks with equal keys in one worker while it lives, then
        in its successor, for what they keep there. ``resources``: tokens that it holds while it runs. ValueError for a
        slot or for resources that there are not.
        """
        return self._submitter(self._session.options.changed(changes))

    def _submitter(self, options: Options) -> Submitter:
        if options.placed:
            self._session.check_placement(options)
        return Submitter(self, options)

    def broadcast(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> list[Future[T]]:
        """Run ``fn(*args, **kwargs)`` once in every worker; the futures, by slot.

        All ``max_workers`` are started for it, and each runs it before what it has not begun. It does not run again:
        the future of a worker that dies meanwhile fails with WorkerLost, and workers that start later do not run it
        (that is what an initializer is for). Raises what `submit` raises.
        """
        from ._broadcast import broadcast

        return broadcast(self, self._session.options, fn, args, kwargs)

    # --- callbacks ------------------------------------------------------------------------------------------

    def run_callbacks(self, timeout: float | None = 0) -> int:
        """Run the callbacks that are due, waiting up to ``timeout`` seconds for one; how many ran.

        Only on the thread that made the executor; elsewhere it does nothing.
        """
        return self._session.run_callbacks(timeout)

    def fileno(self) -> int:
        """A descriptor that is readable while callbacks wait, for selectors and GUI loops."""
        return self._session.dispatcher.fileno()

    # --- looking --------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """A snapshot: counters, and one row for each worker."""
        from ._stats import snapshot

        return snapshot(self._session.engine, [self._session])

    def metrics(self) -> str:
        """The same in the OpenMetrics text form, for Prometheus; and a histogram of how long tasks took since this was
        first called (of all executors that borrow the same workers).
        """
        from ._metrics import metrics

        return metrics(self._session.engine, [self._session])

    def worker_stacks(self, timeout: float = 1.0) -> dict[str, str]:
        """The Python stack of each worker, now, by the worker's name; the workers are not stopped.

        ``timeout``: seconds to wait for those that do not answer.
        """
        from ._stats import worker_stacks

        return worker_stacks(self._session.engine, timeout)

    def trace(self, path: str | os.PathLike[str]) -> AbstractContextManager[None]:
        """``with executor.trace(path):`` writes what its workers do in the block to a file, for Perfetto and for
        ``python -m executor report``: each task, each worker's life, memory, how many tasks waited.

        Raises OSError if the file cannot be written, RuntimeError if a trace of these workers is being recorded.
        """
        from ._recording import tracing

        return tracing(self._session.engine, path)

    # --- ending ---------------------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what is submitted is finished, or cancelled with ``cancel_futures``.

        ``wait``: return only when all is done, callbacks have run and the executor's own workers have gone.
        """
        session = self._session
        engine = session.engine
        if engine.forked:
            return
        if wait and not cancel_futures and session.closed is None:
            for work in list(session.maps):
                work.read_on()
        with session.lock:
            session.close(_AFTER_SHUTDOWN)
        if cancel_futures:
            _cancel_all(session, keep=True)
        if not wait:
            _end_when_idle(session, self._owns_manager)
            return
        session.wait_until_done()
        _finish(session, self._owns_manager)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and is_interrupt(error):
            self._abort()
        else:
            self.shutdown(wait=True)

    async def __aenter__(self) -> Self:
        self._session.note_asyncio()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and is_interrupt(error):
            self._abort()  # blocks the loop, for an instant
            return
        from ._asyncio import shutdown

        await shutdown(self)

    def _abort(self) -> None:
        """Ctrl-C: cancel what is queued, kill what runs, be gone."""
        session = self._session
        with session.lock:
            session.close(_AFTER_SHUTDOWN)
        _cancel_all(session)
        self._manager._kill_session(session, everything=self._owns_manager)
        session.wait_until_done()
        _finish(session, self._owns_manager)

    def terminate_workers(self) -> None:
        """Send SIGTERM to the workers; cancel what is pending. The executor cannot be used after that (3.14's)."""
        self._force_shutdown(kill=False)

    def kill_workers(self) -> None:
        """As `terminate_workers`, with SIGKILL."""
        self._force_shutdown(kill=True)

    def _force_shutdown(self, kill: bool = True, *, operation: str | None = None) -> None:
        session = self._session
        if session.engine.forked:
            return
        with session.lock:
            session.close(_AFTER_SHUTDOWN)
        _cancel_all(session)
        self._manager._end_session(session, kill=kill)
        _end_when_idle(session, self._owns_manager)


def _cancel_all(session: Session, *, keep: bool = False) -> None:
    from ._cancellation import cancel_pending

    for work in list(session.maps):
        work.close()
    cancel_pending(session.engine, session, keep=keep)


def _finish(session: Session, owns_manager: bool) -> None:
    session.leave()
    session.free()
    if owns_manager:
        session.engine.stop()
        session.engine.join()


def _end_when_idle(session: Session, owns_manager: bool) -> None:
    """Let the loop end the session when its work is done. Any thread; with `call_soon`, also from the GC."""

    def end() -> None:
        with session.lock:
            if session.outstanding:
                session.on_idle = end
                return
            session.on_idle = None
        session.leave()
        if owns_manager:
            session.engine.stop()

    session.engine.loop.call_soon(end)
    if not session.engine._started:
        end()


def _end_quietly(session: Session, owns_manager: bool) -> None:
    """The executor was garbage-collected: its work is finished, then its workers go. May run at any point."""
    if session.engine.forked or session.engine.loop.closed:
        return

    def close() -> None:
        with session.lock:
            session.close(_AFTER_SHUTDOWN)
        _end_when_idle(session, owns_manager)

    if session.engine._started:
        session.engine.loop.call_soon(close)


# --- the end of the program ---------------------------------------------------------------------------------

_live: weakref.WeakSet[ProcessPoolExecutor] = weakref.WeakSet()
_hook_registered = False


def _register_exit_hook() -> None:
    """atexit is too late: the interpreter joins threads before it."""
    global _hook_registered
    if not _hook_registered:
        _hook_registered = True
        threading._register_atexit(_at_exit)  # type: ignore[attr-defined]


def _at_exit() -> None:
    from . import _session
    from ._manager import end_all

    _session._shutting_down = True
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    for executor in list(_live):
        if executor._session.engine.forked:
            continue
        if interrupted:
            executor._abort()
        else:
            for work in list(executor._session.maps):
                work.close()
    end_all(interrupted)
