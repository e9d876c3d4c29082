"""Start methods: which multiprocessing context workers come from, and how a worker process is launched.

The default is forkserver where it exists: safe with threads, and a new worker costs a fork of a small process.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from contextlib import contextmanager
from multiprocessing import process
from multiprocessing.context import BaseContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._environment import Environment

__all__ = [
    "EXIT_UNGUARDED",
    "StartFailed",
    "choose_context",
    "heap_frozen",
    "make_process",
    "refuse_while_importing_main",
    "sigint_blocked",
]

EXIT_UNGUARDED = 78  # the exit code of a worker whose import of the main module tried to start an executor
WORKER_NAME = "ExecutorWorker-"
_FROZEN_AT_START = 1000  # objects at most: Python 3.12 begins with 375
METHODS = ("fork", "spawn", "forkserver", "loky")


class StartFailed(RuntimeError):
    """A worker process could not be started."""


def choose_context(mp_context: BaseContext | str | None, initargs: tuple[Any, ...]) -> BaseContext:
    """The context for the constructor's argument: a context, a name, or None for the default."""
    remember_main()
    if mp_context is None:
        return multiprocessing.get_context(_default_method(initargs))
    if not isinstance(mp_context, str):
        return mp_context
    if mp_context == "loky":
        from loky.backend import get_context

        loky_context: BaseContext = get_context("loky")
        return loky_context
    if mp_context not in METHODS:
        raise ValueError(f"mp_context must be a context or one of {', '.join(METHODS)}, not {mp_context!r}")
    return multiprocessing.get_context(mp_context)


def _default_method(initargs: tuple[Any, ...]) -> str:
    available = multiprocessing.get_all_start_methods()
    if multiprocessing.get_start_method(allow_none=True) == "spawn" or "forkserver" not in available:
        return "spawn"  # asked for with set_start_method(), or nothing else can be had
    if initargs and _only_fork_can_share(initargs):
        return "fork"
    return "forkserver"


def _only_fork_can_share(initargs: tuple[Any, ...]) -> bool:
    """Whether a lock of a fork context is among the arguments: its semaphore has no name to open it by.

    Libraries (tqdm) pass a lock of multiprocessing's default context to the initializer.
    """
    synchronize = sys.modules.get("multiprocessing.synchronize")
    if synchronize is None:
        return False
    return any(isinstance(value, synchronize.SemLock) and value._semlock.name is None for value in initargs)


def refuse_while_importing_main() -> None:
    """An executor that is started while a child imports the main module: a guard is missing there.

    A worker of ours ends with a code that its parent understands; any other child gets the sentence.
    """
    current = process.current_process()
    if getattr(current, "_inheriting", False):
        if current.name.startswith(WORKER_NAME):
            os._exit(EXIT_UNGUARDED)
        from ._errors import UNGUARDED_MAIN

        raise RuntimeError(UNGUARDED_MAIN)


_main_path: str | None = None


def remember_main() -> None:
    """Note where the main module is: at the end of the program its ``__file__`` goes before pending work is done."""
    global _main_path
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if path is None or getattr(main, "__spec__", None) is not None:  # it has none, or is known by its name
        return
    path = os.path.normpath(os.path.join(process.ORIGINAL_DIR or "", path))  # type: ignore[attr-defined]
    if os.path.exists(path):  # unlike <stdin>
        _main_path = path


@contextmanager
def without_false_main() -> Iterator[None]:
    """While a worker is launched, the main module has no ``__file__`` that is no file, such as ``<stdin>``."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is None or file is None or getattr(main, "__spec__", None) is not None or os.path.exists(file):
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = file


def path_of_main(method: str) -> str | None:
    """What a worker of that start method imports as the main module, if multiprocessing does not see to it."""
    return _main_path if method in ("spawn", "forkserver") else None


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Children started within have SIGINT blocked until they can deal with it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def heap_frozen() -> Iterator[None]:
    """A process that is forked within leaves what is there now out of its garbage collections.

    A collection writes to the header of each object that it looks at: the child would copy the parent's whole heap.
    """
    if gc.get_freeze_count() > _FROZEN_AT_START:  # by the program itself, which is to keep it so
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def launch_fork_server(mp_context: BaseContext | str | None, initargs: tuple[Any, ...], own_environment: bool) -> None:
    """Launch the fork server if workers will come from it, without waiting for it."""
    name = mp_context if mp_context is None or isinstance(mp_context, str) else getattr(mp_context, "_name", "")
    if (name or _default_method(initargs)) != "forkserver" or name == "":
        return
    if not getattr(process.current_process(), "_inheriting", False):
        from . import _fork_server

        _fork_server.launch(bare=own_environment)


def make_process(
    context: BaseContext,
    target: Callable[..., object],
    name: str,
    args: tuple[Any, ...],
    environment: Environment | None,
) -> Any:
    """A process object of that context, not started. Not a daemon: tasks may start processes.

    ``environment``: None where the process is a fork of this one, and sets it by itself in time.
    """
    if environment is not None:
        from ._environment import WorkerName

        name = WorkerName(name, environment.variables)
    if type(context).__name__ == "ForkServerContext" and type(context).__module__ == "multiprocessing.context":
        from ._fork_server import Process

        return Process(target=target, name=name, args=args, daemon=False)
    process: Any = context.Process(target=target, name=name, args=args, daemon=False)  # type: ignore[attr-defined]
    if environment is not None and hasattr(process, "env"):  # loky's, which begins with it
        process.env = environment.variables
    return process
