"""Everything that runs in the child: set-up, then one call after the other until the parent says to retire.

The order of the writes to the status page is the protocol (`_status`, ARCHITECTURE.md):

    STARTED and ITEM, then RUNNING   the parent must never see a new lease with an old start, or it would time it out
    RUNNING, then a look at REVOKED   what the parent has revoked before it saw this lease running does not begin
    outcome, then FILLED, then the next RUNNING   a death costs the task that ran, never one that was done
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections import deque

from . import _current, _log_forwarding, _main_globals, _pickling
from ._channel import FRAME_HEADER, WorkerChannel
from ._exceptions import dump_exception
from ._messages import ALL_ITEMS, CALLS, HEADER, LOGGING, RETIRE, SLOT, Kind, pad, record
from ._pickling import Parcel, decode_parcel, encode
from ._status import (
    AREA_BYTES,
    CLOSED,
    CUT,
    FILLED,
    FINISHED,
    ITEM,
    REVOKED,
    RUNNING,
    SENT,
    SOFT,
    STARTED,
    StatusBlock,
)
from ._worker_output import write_whole_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._environment import Environment

__all__ = ["DUMP_SIGNAL", "EXIT_CHANNEL_LOST", "SOFT_SIGNAL", "main"]

# Signals that programs hardly ever use themselves.
DUMP_SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR1) + (11 if hasattr(signal, "SIGRTMIN") else 0)
SOFT_SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR2) + (12 if hasattr(signal, "SIGRTMIN") else 0)
EXIT_CHANNEL_LOST = 75
_FLUSH_AFTER = 500_000  # nanoseconds that an outcome may wait while more calls are in hand
_FIRST = FRAME_HEADER.size  # the outcome area begins with room for the header of the frame it is sent as
_LOW = 0xFFFFFFFF
_LOG_BYTES = AREA_BYTES - 64 * 1024  # how much of the outcome area log records may fill
_ALL_SIGNALS = signal.valid_signals()
_SMALL = frozenset((int, float, bool, type(None)))  # nothing in these needs a closer look


def main(
    sock: socket.socket,
    main_path: str | None,
    inherited: tuple[Any, ...] | None,
    environment: Environment | None = None,
) -> None:
    """The target of the worker process. ``inherited``: initializer, its arguments, finalizer, in a forked worker."""
    _reset_signals()
    if environment is not None:
        environment.apply(forked=inherited is not None)
    write_whole_lines(forked=inherited is not None)
    if main_path is not None and sys.modules["__main__"].__name__ != "__mp_main__":
        _import_main(main_path)
    _pickling.import_lock = threading.Lock()  # a forked worker was born with it held
    _main_globals.begin_worker(inherited is not None)
    worker = _Worker(sock)
    if worker.set_up(inherited):
        del inherited
        worker.serve()


def _import_main(path: str) -> None:
    """Import the program's main module. multiprocessing does so, but for workers launched while the program ends:
    its main module has no ``__file__`` any more by then.
    """
    from multiprocessing import process, spawn

    current: Any = process.current_process()
    current._inheriting = True  # no executor is to be started by it
    try:
        spawn.import_main_path(path)
    finally:
        del current._inheriting


def _reset_signals() -> None:
    """What a forked worker inherits is meant for the parent. Ctrl-C is the parent's to handle."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Not SIG_IGN: programs that a task starts would inherit that.
    signal.signal(signal.SIGINT, lambda signum, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _die_with_parent(lifeline: int) -> None:
    """SIGKILL when the parent's end of the pipe closes, by the kernel: holds against C code that keeps the GIL."""
    try:
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, 10, signal.SIGKILL)  # F_SETSIG
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    except (ImportError, OSError, AttributeError):  # elsewhere than on Linux
        threading.Thread(target=_watch, args=(lifeline,), name="executor-lifeline", daemon=True).start()
        return
    import select

    poller = select.poll()
    poller.register(lifeline, 0)
    if poller.poll(0):  # it had died before the signal was armed
        os._exit(EXIT_CHANNEL_LOST)


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(EXIT_CHANNEL_LOST)


class _Worker:
    """The worker's own state. One thread runs tasks; others may only send notes (guarded by ``_lock``)."""

    def __init__(self, sock: socket.socket) -> None:
        self._channel = WorkerChannel(sock)
        self._lock = threading.RLock()
        self._block: StatusBlock
        self._words: memoryview
        self._area: memoryview
        self._fill = _FIRST  # guarded by _lock: bytes of the area in use
        self._flushed = 0  # when it was last sent
        self._in_call = False  # a soft timeout may be raised now
        self._forked = False  # this is a child that a task has forked
        self._finalizer: Any = None
        self._encode: Callable[[Any], bytes | Parcel]  # pickles results
        self._logs = 0  # guarded by _lock: how many log records were put
        self._late: deque[bytes] = deque()  # log records that came in the middle of a put
        self._deaf = False  # nothing more can be sent

    # --- set-up -------------------------------------------------------------------------------------------

    def set_up(self, inherited: tuple[Any, ...] | None) -> bool:
        frame = self._channel.receive()
        if frame is None:
            return False
        body, (status, lifeline, *fds) = frame
        _, facts, initial = pickle.loads(body)
        self._encode = facts["encode"]
        _die_with_parent(lifeline)
        self._block = StatusBlock(status)
        self._words, self._area = self._block.words, self._block.area
        self._words[FILLED] = _FIRST
        os.register_at_fork(after_in_child=self._mark_forked)
        faulthandler.enable(file=status, all_threads=True)
        if hasattr(faulthandler, "register"):
            faulthandler.register(DUMP_SIGNAL, file=status, all_threads=True)
        signal.signal(SOFT_SIGNAL, self._raise_soft_timeout)
        _current._worker = _current.WorkerInfo(facts["id"], facts["slot"], facts["name"], os.getpid())
        if facts["logging"] is not None:
            state, always = facts["logging"]
            _log_forwarding.install(self.put_log, state, always=always)
        _current._place, _current._send_note = self._place, self._send_note
        return self._initialize(inherited, initial, fds)

    def _mark_forked(self) -> None:
        self._forked = True
        _log_forwarding.leave()
        faulthandler.disable()  # a crash of the child is not a crash of the worker

    def _raise_soft_timeout(self, signum: int = 0, frame: object = None) -> None:
        if self._in_call and self._words[SOFT] == self._words[RUNNING]:
            if _log_forwarding.is_busy:
                _log_forwarding.interrupted = self._raise_soft_timeout
                return
            from ._errors import SoftTimeout

            raise SoftTimeout("the soft time limit of this task is reached")

    def _initialize(self, inherited: tuple[Any, ...] | None, initial: bytes, fds: list[int]) -> bool:
        try:
            if inherited is None:
                inherited = decode_parcel(initial, fds) if fds else pickle.loads(initial)
            initializer, initargs, self._finalizer = inherited
            if initializer is not None:
                _main_globals.run_initializer(initializer, initargs)
        except BaseException as error:
            import logging

            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            self._put(0, Kind.FAILED, dump_exception(error))
            self.flush()
            return False
        self._put(0, Kind.READY, b"")
        self.flush()
        return True

    # --- the loop -----------------------------------------------------------------------------------------

    def serve(self) -> None:
        while True:
            share = sys.modules.get("executor._share")  # there once a task was given something shared
            if share is not None and share.kept:
                self._release_shared(share)
            frame = self._channel.receive()
            if frame is None:
                os._exit(EXIT_CHANNEL_LOST)
            body, fds = frame
            message = pickle.loads(body)
            if message[0] == RETIRE:
                break
            if message[0] == SLOT:
                _current.take_slot(message[1])
                continue
            if message[0] == LOGGING:
                _log_forwarding.apply(message[1])
                continue
            assert message[0] == CALLS
            self._run(message[1], fds)
            del message, frame, body
            self.flush()
            if self._late:
                self.put_log(self._late.popleft())
        self._finalize()

    def _release_shared(self, share: Any) -> None:
        """Before the next message: what tasks have shared does not stay in memory for a worker that is idle."""
        if not self._channel.wait(share.IDLE):
            share.kept.clear()
        share.release_closed()

    def _finalize(self) -> None:
        if self._finalizer is not None:
            try:
                self._finalizer()
            except BaseException:
                sys.excepthook(*sys.exc_info())
        self._put(0, Kind.DONE, b"")
        self.flush()

    def _run(self, calls: list[tuple[Any, ...]], fds: list[int]) -> None:
        words = self._words
        now = time.monotonic_ns()
        for call in calls:
            lease = call[0]
            words[STARTED] = now
            words[ITEM] = 0
            words[RUNNING] = lease
            revoked = words[REVOKED]
            if revoked and revoked >> 32 <= lease <= revoked & _LOW:
                self._skip(call, fds)
            elif len(call) == 4:
                now = self._run_items(call, now)
            else:
                taken = [fds.pop(0) for _ in range(call[2])] if len(call) > 2 and call[2] else None
                now = self._run_call(lease, call[1], taken, now, call[3:])
            if self._forked:
                _leave_forked_child()
            words[FINISHED] += 1
            if now - self._flushed > _FLUSH_AFTER:
                self.flush()
                self._flushed = now
        words[RUNNING] = 0

    def _skip(self, call: tuple[Any, ...], fds: list[int]) -> None:
        if len(call) in (3, 5):
            for _ in range(call[2]):
                os.close(fds.pop(0))
        self._put(call[0], Kind.SKIPPED, b"")

    def _run_call(self, lease: int, payload: bytes, fds: list[int] | None, started: int, about: tuple[Any, ...]) -> int:
        """Run one task and put its outcome; returns the time it ended."""
        kind = Kind.RETURNED
        data: bytes | Parcel
        try:
            try:
                self._in_call = True
                fn, args, kwargs = pickle.loads(payload) if fds is None else decode_parcel(payload, fds)
                _current._call = about or fn
                value = fn(*args, **kwargs)
            finally:
                self._in_call = False  # a soft timeout that comes just before this is caught below, none comes after
            data = pickle.dumps(value, 5) if type(value) in _SMALL else self._encode(value)
        except BaseException as error:
            kind = Kind.RAISED
            if _is_of_encode(error):
                _note_result(error, fn, value)
            data = dump_exception(error)
        now = time.monotonic_ns()
        if not self._forked:
            self._put(lease, kind, data, started, now - started)
        _current._call = None
        return now

    # --- runs of map items --------------------------------------------------------------------------------

    def _run_items(self, call: tuple[Any, ...], now: int) -> int:
        lease, payload, star, items = call
        words = self._words
        try:
            fn = pickle.loads(payload)
            if isinstance(items, bytes):
                items = pickle.loads(items)
                load = None
            else:
                load = pickle.loads
        except BaseException as error:
            self._put(lease | ALL_ITEMS << 32, Kind.RAISED, dump_exception(error))
            return time.monotonic_ns()
        _current._call = fn
        for index, item in enumerate(items):
            words[STARTED] = now
            words[ITEM] = index
            cut = words[CUT]
            if cut and cut >> 32 == lease and index >= cut & _LOW:
                self._put(lease | index << 32, Kind.SKIPPED, b"")
                break
            now = self._run_item(lease | index << 32, fn, item, load, star, now)
            if self._forked:
                _leave_forked_child()
        _current._call = None
        return now

    def _run_item(self, lease: int, fn: Any, item: Any, load: Any, star: bool, started: int) -> int:
        kind = Kind.RETURNED
        data: bytes | Parcel
        try:
            try:
                self._in_call = True
                if load is not None:
                    item = load(item)
                value = fn(*item) if star else fn(item)
            finally:
                self._in_call = False
            data = pickle.dumps(value, 5) if type(value) in _SMALL else self._encode(value)
        except BaseException as error:
            kind = Kind.RAISED
            if _is_of_encode(error):
                _note_result(error, fn, value)
            data = dump_exception(error)
        now = time.monotonic_ns()
        if not self._forked:
            self._put(lease, kind, data, started, now - started)
            if now - self._flushed > _FLUSH_AFTER:
                self.flush()
                self._flushed = now
        return now

    # --- outcomes -----------------------------------------------------------------------------------------

    def _put(self, lease: int, kind: int, data: bytes | Parcel, started: int = 0, duration: int = 0) -> None:
        """Put a record where the parent finds it even if this process dies next."""
        with self._lock:
            if isinstance(data, Parcel):
                self._send_parcel(lease, kind, data, started, duration)
                return
            size = len(data)
            at = self._fill
            end = at + 32 + pad(size)
            if end > AREA_BYTES:
                self.flush()
                at = _FIRST
                end = at + 32 + pad(size)
                if end > AREA_BYTES:
                    head = HEADER.pack(lease, kind | size << 8, started, duration)
                    self._send([head, data, bytes(pad(size) - size)], ())
                    return
            area = self._area
            HEADER.pack_into(area, at, lease, kind | size << 8, started, duration)
            area[at + 32 : at + 32 + size] = data
            self._fill = end
            self._words[FILLED] = end

    def _send_parcel(self, lease: int, kind: int, parcel: Parcel, started: int, duration: int) -> None:
        self.flush()
        size = len(parcel.data)
        head = HEADER.pack(lease, kind | Kind.PARCEL | size << 8, started, duration)
        self._send([head, parcel.data, bytes(pad(size) - size)], parcel.fds)
        parcel.close()

    def flush(self) -> None:
        """Send what is in the area. It stays readable there until it is sent."""
        with self._lock:
            if self._fill != _FIRST and not self._send_area():  # the parent finds the rest in the area
                os._exit(EXIT_CHANNEL_LOST)

    def _send_area(self) -> bool:
        """False: the parent has gone, or a task closed our descriptor. With the lock."""
        fill = self._fill
        if self._words[CLOSED] or self._deaf:
            return False
        if fill == _FIRST:
            return True
        FRAME_HEADER.pack_into(self._area, 0, fill - _FIRST, 0)
        try:
            self._channel.send_bytes(self._area[:fill])
        except OSError:
            self._deaf = True
            return False
        self._words[SENT] += 1  # before anything is written over what the parent may be copying
        self._fill = _FIRST
        self._words[FILLED] = _FIRST
        return True

    # --- log records --------------------------------------------------------------------------------------

    def put_log(self, data: bytes) -> None:
        """Put a log record where the parent finds it, and send it if that is possible. Any thread.

        Unlike an outcome it may come in the middle of a task, which is not to end because nothing can be sent.
        """
        if self._forked:
            return
        if self._lock._is_owned():  # type: ignore[attr-defined]  # not in typeshed
            self._late.append(data)  # from a signal's handler or the garbage collector, between two writes of a put
            return
        # A handler that raises out of the middle of a send would leave half a frame behind.
        before = _sigmask(signal.SIG_BLOCK, ())
        try:
            _sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
            with self._lock:
                while self._late:
                    self._put_one_log(self._late.popleft())
                self._put_one_log(data)
                self._send_area()
        finally:
            _sigmask(signal.SIG_SETMASK, before)

    def _put_one_log(self, data: bytes) -> None:
        need = 32 + pad(len(data))
        if self._fill + need > _LOG_BYTES and not self._send_area():
            return  # neither room nor a way out: the rest of the area is for the outcome of the task
        self._logs += 1
        if _FIRST + need <= AREA_BYTES:
            self._put(0, Kind.LOG, data, self._logs)
            return
        head = HEADER.pack(0, Kind.LOG | len(data) << 8, self._logs, 0)
        try:
            self._channel.send([head, data, bytes(pad(len(data)) - len(data))])
        except OSError:
            self._deaf = True

    def _place(self) -> tuple[int, int]:
        return self._words[RUNNING], self._words[ITEM]

    def _send_note(self, tag: str, *facts: Any) -> None:
        """Tell the parent something of the running task. Any thread. One that cannot be sent now is left out."""
        lease, item = self._place()
        if not lease or self._forked or self._lock._is_owned():  # type: ignore[attr-defined]  # not in typeshed
            return
        body = record(Kind.NOTE, pickle.dumps((tag, lease, item, *facts), 5))
        with self._lock:
            if not self._words[CLOSED]:
                try:
                    # Past the outcome area, where nothing is written while a task runs. So small a frame is sent whole
                    # or not at all, whatever a signal's handler raises.
                    self._channel.send_bytes(FRAME_HEADER.pack(len(body), 0) + body)
                except OSError:
                    pass

    def _send(self, parts: list[bytes], fds: list[int] | tuple[int, ...]) -> None:
        if self._words[CLOSED]:
            os._exit(EXIT_CHANNEL_LOST)
        try:
            self._channel.send(parts, fds)
        except OSError:
            os._exit(EXIT_CHANNEL_LOST)


def _sigmask(how: int, signals: Any) -> Any:
    """As signal.pthread_sigmask, which makes an enum of each signal and takes ten times as long."""
    import _signal  # type: ignore[import-not-found]  # not in typeshed

    return _signal.pthread_sigmask(how, signals)


def _is_of_encode(error: BaseException) -> bool:
    """Whether it was raised where a result is pickled, not by the task."""
    outer = error.__traceback__
    return outer is not None and outer.tb_next is not None and outer.tb_next.tb_frame.f_code is encode.__code__


def _note_result(error: BaseException, fn: Any, value: object) -> None:
    from ._unpicklable import note_result

    note_result(error, fn, value)


def _leave_forked_child() -> None:
    """A child that a task forked has come back from the task: it must not go on as a second worker."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)
