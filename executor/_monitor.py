"""Tells whoever looks (`_top`) what the pools of this program do. Off unless it was asked for.

One thread and one socket for all pools of the program, there while one of them is. For each line that a client sends it
gets one: the state of all pools, as JSON.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import selectors
import socket
import struct
import sys
import threading
import weakref
from dataclasses import asdict
from time import monotonic

from . import _rendezvous
from ._forksafety import disown, on_fork_in_child, own
from ._stats import snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._engine import Engine

__all__ = ["VARIABLE", "VERSION", "forget", "show"]

VERSION = 1
VARIABLE = "EXECUTOR_MONITOR"
_CLIENTS = 16  # at once
_WITHIN = 1.0  # seconds that a client may take to read what it asked for

_lock = threading.RLock()  # taken with an engine's lock held, never the other way round
_server: _Server | None = None  # guarded by _lock


def show(engine: Engine, *, asked: bool) -> None:
    """Show this engine's pool until it ends: because the program has asked for it, or if the environment does.

    Any thread. Raises OSError where no socket can be had; on behalf of the environment that is only logged.
    """
    if not asked and os.environ.get(VARIABLE) != "1":
        return
    try:
        _add(engine)
    except OSError as error:
        if asked:
            raise
        logging.getLogger("executor").warning("%s=1 is in vain: %s", VARIABLE, error)


def _add(engine: Engine) -> None:
    import psutil  # noqa: F401  # now: a worker that is forked while another thread imports it could never import it

    global _server
    with _lock:
        if _server is None or _server.closed:
            _server = _Server(engine)
        _server.add(engine)
        engine.monitored = True


def forget(engine: Engine) -> None:
    """It has ended. Any thread; the engine's lock may be held."""
    global _server
    with _lock:
        server = _server
        if server is None:
            return
        entry = server.engines.pop(engine, None)
        if entry is not None:
            entry[1].detach()
        if not server.engines:
            _server = None
            server.close()


class _Server:
    """The thread ``executor-monitor`` reads and writes; the engines are guarded by ``_lock``."""

    def __init__(self, engine: Engine) -> None:
        self._pid = os.getpid()
        self._listener = _rendezvous.bind(self._pid)
        own(self._listener.fileno())
        self._began = monotonic()
        # With since when it is shown, and what tells the thread when it was collected.
        self.engines: weakref.WeakKeyDictionary[Engine, tuple[float, Any]] = weakref.WeakKeyDictionary()
        self.closed = False
        on_fork_in_child(self)
        self._wake_read, self._wake_write = map(own, os.pipe())
        os.set_blocking(self._wake_write, False)
        self.add(engine)
        atexit.register(self.close)
        threading.Thread(target=self._serve, name="executor-monitor", daemon=True).start()

    def add(self, engine: Engine) -> None:
        if engine not in self.engines:
            finalizer = weakref.finalize(engine, self._wake)
            finalizer.atexit = False
            self.engines[engine] = monotonic(), finalizer

    def close(self) -> None:
        """The socket goes at once; the thread ends soon."""
        if not self.closed:
            self.closed = True
            atexit.unregister(self.close)
            _rendezvous.remove(self._pid)
            self._wake()

    def _wake(self) -> None:
        """Takes no lock: may be called from garbage collection at any point."""
        try:
            os.write(self._wake_write, b"\0")
        except OSError:  # full: it will wake; or closed
            pass

    def after_fork_in_child(self) -> None:
        """The socket and the thread are the parent's; the descriptors are closed already."""
        global _server, _lock
        _lock = threading.RLock()
        _server = None
        self.closed = True
        self._listener.detach()
        self._wake_read = self._wake_write = -1
        atexit.unregister(self.close)

    # --- the thread -----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            own(selector.fileno())
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            try:
                while not self._is_over():
                    for key, _ in selector.select():
                        self._handle(selector, key.fileobj)
            finally:
                for key in list(selector.get_map().values()):
                    if isinstance(key.fileobj, socket.socket):
                        _drop(key.fileobj)
                disown(selector.fileno())
                os.close(disown(self._wake_read))

    def __del__(self) -> None:
        # Not in the thread: whoever still calls `_wake` must not write to a descriptor that is another's by now.
        if self.__dict__.get("_wake_write", -1) >= 0:
            os.close(disown(self._wake_write))

    def _is_over(self) -> bool:
        """Engines may have been collected without having ended."""
        global _server
        with _lock:
            if not self.engines and not self.closed:
                _server = None
                self.close()
        return self.closed

    def _handle(self, selector: selectors.BaseSelector, what: Any) -> None:
        if what == self._wake_read:
            os.read(self._wake_read, 4096)
        elif what is self._listener:
            self._accept(selector)
        elif not self._answer(what):
            selector.unregister(what)
            _drop(what)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # no descriptor left, or it has gone again
            return
        own(client.fileno())
        if len(selector.get_map()) >= _CLIENTS + 2 or _uid_of(client) not in (os.geteuid(), 0):
            _drop(client)
            return
        client.settimeout(_WITHIN)
        selector.register(client, selectors.EVENT_READ)

    def _answer(self, client: socket.socket) -> bool:
        try:
            asked = client.recv(4096)
            for _ in range(min(1, asked.count(b"\n"))):
                client.sendall(json.dumps(self._state()).encode() + b"\n")
        except OSError:
            return False
        return bool(asked)

    def _state(self) -> dict[str, Any]:
        with _lock:
            engines = [(engine, since) for engine, (since, _) in self.engines.items()]
        return {
            "version": VERSION,
            "pid": self._pid,
            "program": sys.argv,
            "age": monotonic() - self._began,
            "pools": [_pool(engine, since) for engine, since in engines],
        }


def _pool(engine: Engine, since: float) -> dict[str, Any]:
    with engine.lock:
        sessions = list(engine.sessions)
    state = asdict(snapshot(engine, sessions))
    settings = engine.settings
    return {"age": monotonic() - since, "method": settings.method, "max_workers": settings.max_workers, **state}


def _uid_of(client: socket.socket) -> int:
    """Who is at the other end, as the kernel knows it."""
    raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    return int(uid)


def _drop(sock: socket.socket) -> None:
    disown(sock.fileno())
    sock.close()
