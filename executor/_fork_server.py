"""A fork server of our own; the protocol and the server's program are multiprocessing's.

Ours has the worker's modules loaded before it forks, without touching the list that the program may have set for its
own server. And a start does not wait for the server's answer, so that a replacement never holds up the I/O loop.
"""

from __future__ import annotations

import io
import os
import pickle
from contextlib import contextmanager
from multiprocessing import forkserver, popen_forkserver, resource_tracker, spawn, util
from multiprocessing.context import ForkServerProcess, reduction, set_spawning_popen  # type: ignore[attr-defined]  # not in typeshed

from . import _preload
from ._environment import WorkerName
from ._start import EXIT_UNGUARDED, StartFailed, sigint_blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["Process"]

# The bare one has nothing of the program's loaded: a worker with an environment of its own is to set it before that.
_server: Any = None
_bare_server: Any = None
_owner = 0  # the process that launched them: a forked child needs its own


def _get_server(*, bare: bool) -> Any:
    global _server, _bare_server, _owner
    if _owner != os.getpid():
        _server = _bare_server = None
        _owner = os.getpid()
    if bare:
        if _bare_server is None:
            _bare_server = forkserver.ForkServer()
            _bare_server.set_forkserver_preload(["executor._preload"])
        return _bare_server
    if _server is None:
        _server = forkserver.ForkServer()
        theirs: Any = forkserver._forkserver
        extra = [name for name in theirs._preload_modules if name != "__main__"]
        _server.set_forkserver_preload(["executor._preload", *extra])
    return _server


@contextmanager
def _naming_main(server: Any, data: dict[str, Any]) -> Iterator[None]:
    """Let a server that is about to be launched know the main module (multiprocessing's own way fails before 3.14)."""
    main = {key: data[key] for key in ("init_main_from_path", "init_main_from_name") if key in data}
    if server is _bare_server:
        main = {}
    if server._forkserver_pid is not None:
        yield
        return
    os.environ[_preload.VARIABLE] = pickle.dumps(main).hex()
    try:
        yield
    finally:
        del os.environ[_preload.VARIABLE]


class _LateTracker:
    """Multiprocessing's resource tracker, started when a worker is to have it and not with the server: it takes as long
    to start, and three processes that start at once delay one another on two cores.
    """

    getfd = staticmethod(resource_tracker.getfd)  # starts it

    @staticmethod
    def ensure_running() -> None:
        pass


def launch(*, bare: bool) -> None:
    """Have the server running, without waiting for it to be ready."""
    server = _get_server(bare=bare)
    if server._forkserver_pid is None:
        with sigint_blocked(), _naming_main(server, spawn.get_preparation_data("server")):
            forkserver.resource_tracker = _LateTracker  # type: ignore[attr-defined]
            try:
                server.ensure_running()
            except OSError:
                pass  # whoever needs a worker is told why
            finally:
                forkserver.resource_tracker = resource_tracker  # type: ignore[attr-defined]


class Popen(popen_forkserver.Popen):
    """As multiprocessing's, but ``pid`` is None until the server has answered on ``sentinel``."""

    def _launch(self, process_obj: Any) -> None:
        buffer = io.BytesIO()
        set_spawning_popen(self)
        preparation = spawn.get_preparation_data(process_obj._name)
        if not os.path.exists(preparation.get("init_main_from_path", "/")):  # read from stdin, for one
            del preparation["init_main_from_path"]
        try:
            reduction.dump(preparation, buffer)
            reduction.dump(process_obj, buffer)
        finally:
            set_spawning_popen(None)
        self.pid: int | None = None  # type: ignore[assignment]  # None: not known yet
        self._server = server = _get_server(bare=isinstance(process_obj._name, WorkerName))
        with _naming_main(server, preparation):
            self.sentinel, write_end = server.connect_to_new_process(self._fds)  # type: ignore[attr-defined]  # not in typeshed
        # The worker takes a closed pipe for its parent's death: keep the write end.
        kept = os.dup(write_end)
        self.finalizer = util.Finalize(self, util.close_fds, (kept, self.sentinel))  # type: ignore[attr-defined]  # the same
        with open(write_end, "wb", closefd=True) as file:
            file.write(buffer.getbuffer())

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """As multiprocessing's. It asks all children at each start, and must not take the pid for an exit code."""
        if self.pid is None:
            if flag == os.WNOHANG:
                return None
            self.read_pid()
        code: int | None = super().poll(flag)
        return code

    def read_pid(self) -> int:
        """Take the server's answer; ``sentinel`` is to be readable."""
        try:
            self.pid = forkserver.read_signed(self.sentinel)
        except (OSError, EOFError):
            raise StartFailed(_why_server_ended(self._server)) from None
        return self.pid


class Process(ForkServerProcess):
    def __reduce__(self) -> tuple[Any, ...]:
        """In the worker it is a plain one, and this module is not needed."""
        return ForkServerProcess, (), self.__dict__

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - multiprocessing calls it by this name
        return Popen(process_obj)


def _why_server_ended(server: Any) -> str:
    """How the fork server ended: it imports the main module, which may do anything."""
    pid = server._forkserver_pid
    code = None
    if pid is not None:
        try:
            _, status = os.waitpid(pid, 0)
            code = os.waitstatus_to_exitcode(status)
        except (OSError, ValueError):
            pass
        os.close(server._forkserver_alive_fd)
        server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None
    if code == EXIT_UNGUARDED:
        from ._errors import UNGUARDED_MAIN

        return UNGUARDED_MAIN
    return f"the fork server ended with exit code {code} (it imports the main module; see its traceback above)"
