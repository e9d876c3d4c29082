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

from . import _current, _forwarding, _main_globals, _pickling
from ._channel import WorkerChannel
from ._depot import KEEP, depot
from ._exceptions import dump_exception
from ._messages import ALL_ITEMS, CALLS, LOGGING, RETIRE, SLOT, STAMPED, STAR, TIMED, Kind
from ._outcomes import EXIT_CHANNEL_LOST, Outcomes
from ._pickling import NUMBERS, Parcel, decode_call, decode_parcel
from ._series import GROUP, PICKLED, Series
from ._status import CUT, FINISHED, ITEM, LOW, OVER, REVOKED, RUNNING, SOFT, STARTED, StatusBlock
from ._worker_output import write_whole_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._environment import Environment

__all__ = ["DUMP_SIGNAL", "SOFT_SIGNAL", "main"]

# Signals that programs hardly ever use themselves.
DUMP_SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR1) + (11 if hasattr(signal, "SIGRTMIN") else 0)
SOFT_SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR2) + (12 if hasattr(signal, "SIGRTMIN") else 0)
_FLUSH_AFTER = 500_000  # nanoseconds that an outcome may wait while more calls are in hand
_GROUP_TAKES = 25_000  # nanoseconds that a group of quick items may take, if they go on as before


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
    if inherited is None:
        write_whole_lines(forked=False)  # the main module may print when it is imported
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


class _Outcome:
    """Of an item that does not fit into the series."""

    __slots__ = ("data", "kind")

    def __init__(self, kind: int, data: bytes | Parcel) -> None:
        self.kind = kind
        self.data = data


_GATHERED, _CUT = object(), object()  # in the place of a result: there is none left, it has not begun


class _Worker:
    """The worker's own state. For the thread that runs tasks."""

    def __init__(self, sock: socket.socket) -> None:
        self._channel = WorkerChannel(sock)
        self._words: memoryview
        self._outcomes: Outcomes
        self._series: Series
        self._flushed = 0  # when it was last sent
        self._in_call = False  # a soft timeout may be raised now
        self._is_late = False  # it is to be raised when the call begins
        self._finalizer: Any = None
        self._encode: Callable[[Any], bytes | Parcel]  # pickles results

    # --- set-up -------------------------------------------------------------------------------------------

    def set_up(self, inherited: tuple[Any, ...] | None) -> bool:
        frame = self._channel.receive()
        if frame is None:
            return False
        body, (status, lifeline, *fds) = frame
        _, facts, initial = pickle.loads(body)
        self._encode = facts["encode"]
        depot.maps = not facts["memory_quota"]
        _die_with_parent(lifeline)
        block = StatusBlock(status)
        self._words = block.words
        self._outcomes = Outcomes(self._channel, block)
        self._series = Series(block, self._outcomes)
        os.register_at_fork(after_in_child=self._mark_forked)
        faulthandler.enable(file=status, all_threads=True)
        if hasattr(faulthandler, "register"):
            faulthandler.register(DUMP_SIGNAL, file=status, all_threads=True)
        signal.signal(SOFT_SIGNAL, self._raise_soft_timeout)
        if not facts["initializes"]:
            self._say_ready()  # so its first call is on its way while the rest is done
        if inherited is not None:
            write_whole_lines(forked=True)
        _current._worker = _current.WorkerInfo(facts["id"], facts["slot"], facts["name"], os.getpid())
        if facts["logging"] is not None:
            state, always = facts["logging"]
            _forwarding.install(self._outcomes.put_log, state, always=always)
        _current._place, _current._send_note = self._outcomes.place, self._outcomes.send_note
        return self._initialize(inherited, initial, fds) if facts["initializes"] else True

    def _mark_forked(self) -> None:
        self._outcomes.forked = True
        _forwarding.leave()
        faulthandler.disable()  # a crash of the child is not a crash of the worker

    def _raise_soft_timeout(self, signum: int = 0, frame: object = None) -> None:
        if self._words[SOFT] != self._words[RUNNING] or _current.put_off(self._raise_soft_timeout):
            return
        if not self._in_call:
            self._is_late = True  # a module that is just imported would stay half-made: it is raised when that is done
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
            self._outcomes.put(0, Kind.FAILED, dump_exception(error))
            self._outcomes.flush()
            return False
        self._say_ready()
        return True

    def _say_ready(self) -> None:
        self._outcomes.put(0, Kind.READY, b"")
        self._outcomes.flush()

    # --- the loop -----------------------------------------------------------------------------------------

    def serve(self) -> None:
        look = False
        while True:
            share = sys.modules.get("executor._share")  # there once a task was given something shared
            if depot or (share is not None and share.kept):
                self._release_memory(share)
            frame = self._channel.receive(spin=look)
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
                _forwarding.apply(message[1])
                continue
            assert message[0] == CALLS
            look = message[2]
            self._run(message[1], fds)
            del message, frame, body
            self._outcomes.flush()
            if self._outcomes.late:
                self._outcomes.put_log(self._outcomes.late.popleft())
        self._finalize()

    def _release_memory(self, share: Any) -> None:
        """Before the next message: neither what tasks have shared nor what results were sent in stays in memory for a
        worker that is idle.
        """
        idle = not self._channel.wait(KEEP)
        depot.release(0.0 if idle else KEEP)
        if share is not None:
            if idle:
                share.kept.clear()
            share.release_closed()

    def _finalize(self) -> None:
        if self._finalizer is not None:
            try:
                self._finalizer()
            except BaseException:
                sys.excepthook(*sys.exc_info())
        self._outcomes.put(0, Kind.DONE, b"")
        self._outcomes.flush()

    def _run(self, calls: list[tuple[Any, ...]], fds: list[int]) -> None:
        words = self._words
        now = time.monotonic_ns()
        for call in calls:
            lease = call[0]
            words[STARTED] = now
            words[ITEM] = 0
            words[RUNNING] = lease
            revoked = words[REVOKED]
            if revoked and revoked >> 32 <= lease <= revoked & LOW:
                self._skip(call, fds)
            elif len(call) == 4:
                now = self._run_items(call, now)
            else:
                parcel = len(call) > 2 and call[2] is not None
                taken = [fds.pop(0) for _ in range(call[2])] if parcel else None
                now = self._run_call(lease, call[1], taken, now, call[3:])
            if self._outcomes.forked:
                _leave_forked_child()
            words[FINISHED] += 1
            if now - self._flushed > _FLUSH_AFTER:
                self._outcomes.flush()
                self._flushed = now
        words[RUNNING] |= OVER

    def _skip(self, call: tuple[Any, ...], fds: list[int]) -> None:
        if len(call) in (3, 5):
            for _ in range(call[2] or 0):
                os.close(fds.pop(0))
        self._outcomes.put(call[0], Kind.SKIPPED, b"")

    def _run_call(self, lease: int, payload: Any, fds: list[int] | None, started: int, about: tuple[Any, ...]) -> int:
        """Run one task and put its outcome; returns the time it ended."""
        kind: int
        data: bytes | Parcel
        try:
            try:
                self._is_late = False
                fn, args, kwargs = decode_call(payload, fds)
                _current._call = about or fn
                self._in_call = True
                if self._is_late:
                    self._raise_soft_timeout()
                value = fn(*args, **kwargs)
            finally:
                self._in_call = False  # a soft timeout that comes just before this is caught below, none comes after
        except BaseException as error:
            kind, data = Kind.RAISED, dump_exception(error)
        else:
            kind, data = self._encoded(fn, value)
        now = time.monotonic_ns()
        if not self._outcomes.forked:
            self._outcomes.put(lease, kind, data, started, now - started)
        _current._call = None
        return now

    def _encoded(self, fn: Any, value: object) -> tuple[int, bytes | Parcel]:
        """The kind and the payload of the record for what ``fn`` has returned."""
        try:
            return Kind.RETURNED, pickle.dumps(value, 5) if type(value) in NUMBERS else self._encode(value)
        except BaseException as error:
            from ._unpicklable import note_result

            note_result(error, fn, value)
            return Kind.RAISED, dump_exception(error)

    # --- runs of map items --------------------------------------------------------------------------------

    def _run_items(self, call: tuple[Any, ...], now: int) -> int:
        lease, payload, how, items = call
        words = self._words
        load: Any = None
        try:
            fn = pickle.loads(payload)
            if isinstance(items, bytes):
                items = pickle.loads(items)
            else:
                load = pickle.loads
        except BaseException as error:
            self._outcomes.put(lease | ALL_ITEMS << 32, Kind.RAISED, dump_exception(error))
            return time.monotonic_ns()
        _current._call = fn
        star = bool(how & STAR)
        done = 0
        if not how & TIMED:
            self._series.stamped = bool(how & STAMPED)
            done, now = self._run_untimed(lease, fn, items, load, star, time.monotonic_ns())
        for index in range(done, len(items)):
            words[STARTED] = now
            words[ITEM] = index
            cut = words[CUT]
            if cut and cut >> 32 == lease and index >= cut & LOW:
                self._outcomes.put(lease | index << 32, Kind.SKIPPED, b"")
                break
            now = self._run_item(lease | index << 32, fn, items[index], load, star, now)
            if self._outcomes.forked:
                _leave_forked_child()
        _current._call = None
        return now

    def _run_untimed(self, lease: int, fn: Any, items: list[Any], load: Any, star: bool, now: int) -> tuple[int, int]:
        """Run items whose results gather in series: how many it ran, and the time.

        The clock is looked at between groups of quick ones: what each of them takes is not known unless it is to be
        stamped.
        """
        outcomes, series = self._outcomes, self._series
        done, most = 0, 1
        while done < len(items):
            first = done
            gather = self._gather_pickles if series.type is PICKLED else self._gather
            done, value = gather(lease, fn, items, load, star, first, min(len(items), first + most))
            started, now = now, time.monotonic_ns()
            self._words[STARTED] = now
            if value is _CUT:
                break
            if value is not _GATHERED:
                self._begin_series(lease | done << 32, fn, value, started, now)
                done += 1
            else:
                if series.stamped:
                    series.stamp(now)
                if series.is_full():
                    series.end(now)
            # Not behind a quick item that begins a series: there are more to come.
            if now - self._flushed > _FLUSH_AFTER and (value is _GATHERED or now - started > _GROUP_TAKES):
                series.end(now)
                outcomes.flush()
                self._flushed = now
            if not series.stamped:
                most = max(1, min(GROUP, (done - first) * _GROUP_TAKES // (now - started + 1)))
        series.end(now)
        return done, now

    def _begin_series(self, word: int, fn: Any, value: Any, started: int, now: int) -> None:
        """What an item came to does not fit into the series: put it, or begin another with it."""
        series = self._series
        had_many = series.end(now)
        if type(value) is not _Outcome:
            # Types that change all the time are better pickled.
            if had_many and series.begin(word, value, started, now):
                return
            value = _Outcome(*self._encoded(fn, value))
        kind, data = value.kind, value.data
        if kind != Kind.RETURNED or not isinstance(data, bytes) or not series.begin_pickles(word, data, started, now):
            self._outcomes.put(word, kind, data, started, now - started)

    def _gather(
        self, lease: int, fn: Any, items: list[Any], load: Any, star: bool, first: int, stop: int
    ) -> tuple[int, Any]:
        """Run items from ``first`` while their results are numbers of the series' type: where that ended, with what."""
        words, outcomes, series = self._words, self._outcomes, self._series
        slots, kind, count = series.slots, series.type, series.count
        try:
            for index in range(first, stop):
                words[ITEM] = index
                cut = words[CUT]
                if cut and cut >> 32 == lease and index >= cut & LOW:
                    return index, _CUT
                try:
                    item = items[index] if load is None else load(items[index])
                    value = fn(*item) if star else fn(item)
                except BaseException as error:
                    value = _Outcome(Kind.RAISED, dump_exception(error))
                if outcomes.forked:
                    _leave_forked_child()
                if type(value) is not kind:
                    return index, value
                try:
                    slots[count] = value
                except ValueError:  # an int of more than 64 bits
                    return index, value
                count += 1
            return stop, _GATHERED
        finally:
            series.count = count

    def _gather_pickles(
        self, lease: int, fn: Any, items: list[Any], load: Any, star: bool, first: int, stop: int
    ) -> tuple[int, Any]:
        """The same, where results are pickled."""
        words, outcomes, add = self._words, self._outcomes, self._series.add
        for index in range(first, stop):
            words[ITEM] = index
            cut = words[CUT]
            if cut and cut >> 32 == lease and index >= cut & LOW:
                return index, _CUT
            data: bytes | Parcel
            try:
                item = items[index] if load is None else load(items[index])
                value = fn(*item) if star else fn(item)
            except BaseException as error:
                kind, data = Kind.RAISED, dump_exception(error)
            else:
                kind, data = self._encoded(fn, value)
            if outcomes.forked:
                _leave_forked_child()
            if kind != Kind.RETURNED or not isinstance(data, bytes) or not add(data):
                return index, _Outcome(kind, data)
        return stop, _GATHERED

    def _run_item(self, lease: int, fn: Any, item: Any, load: Any, star: bool, started: int) -> int:
        kind: int
        data: bytes | Parcel
        try:
            try:
                self._is_late = False
                if load is not None:
                    item = load(item)
                self._in_call = True
                if self._is_late:
                    self._raise_soft_timeout()
                value = fn(*item) if star else fn(item)
            finally:
                self._in_call = False
        except BaseException as error:
            kind, data = Kind.RAISED, dump_exception(error)
        else:
            kind, data = self._encoded(fn, value)
        now = time.monotonic_ns()
        if not self._outcomes.forked:
            self._outcomes.put(lease, kind, data, started, now - started)
            if now - self._flushed > _FLUSH_AFTER:
                self._outcomes.flush()
                self._flushed = now
        return now


def _leave_forked_child() -> None:
    """A child that a task forked has come back from the task: it must not go on as a second worker."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)
