"""Ways for a worker to die, and objects that use them while they are pickled or loaded."""

from __future__ import annotations

import concurrent.futures
import ctypes
import importlib
import multiprocessing
import operator
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from tests.support import Gate

# how: the exit code that the parent must report (multiprocessing's meaning: negative for a signal)
DEATHS = {
    "exit-0": 0,
    "exit-7": 7,
    "SIGKILL": -signal.SIGKILL,
    "SIGTERM": -signal.SIGTERM,
    "segfault": -signal.SIGSEGV,
    "abort": -signal.SIGABRT,
}

# Those that are tried under every start method; the others under the default alone.
COMMON = ["exit-0", "SIGKILL", "segfault"]
RARE = ["exit-7", "SIGTERM", "abort"]


def die(how: str) -> NoReturn:
    """End this process, now, in the way that is named."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if how.startswith("exit-"):
        os._exit(int(how.removeprefix("exit-")))
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    else:
        number = getattr(signal, how)
        ctypes.CDLL(None).signal(number, None)  # signal.signal() is for the main thread only
        os.kill(os.getpid(), number)
    time.sleep(60)
    raise AssertionError(f"{how} did not kill")


def hang() -> None:
    """Stop for ever, in Python code that keeps no lock."""
    threading.Event().wait(600)


def hold_gil(seconds: float) -> None:
    """Sleep in C code that keeps the GIL: no other thread of this process runs."""
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


def die_at_gate(how: str, gate: Gate) -> None:
    gate.stop()
    die(how)


def die_once(how: str, flag: str) -> str:
    """Die unless a call before did."""
    if os.path.exists(flag):
        return "alive"
    with open(flag, "x"):
        pass
    die(how)


def die_later(how: str, gate: Gate) -> int:
    """Return at once; die, idle, when the gate opens."""

    def wait_then_die() -> None:
        gate.wait_open()
        die(how)

    threading.Thread(target=wait_then_die, daemon=True).start()
    return os.getpid()


class DiesOnLoad:
    """Whoever unpickles it dies."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[object, ...]:
        return die, (self.how,)


class HangsOnLoad:
    """Whoever unpickles it stops at the gate."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __reduce__(self) -> tuple[object, ...]:
        return self.gate.stop, ()


class DiesOnDump:
    """Whoever pickles it dies."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[object, ...]:
        die(self.how)


class HangsOnDump:
    """Whoever pickles it stops at the gate."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __reduce__(self) -> tuple[object, ...]:
        self.gate.stop()
        return str, ()


def make_dies_on_dump(how: str) -> DiesOnDump:
    return DiesOnDump(how)


def make_hangs_on_dump(gate: Gate) -> HangsOnDump:
    return HangsOnDump(gate)


def _raise(kind: type[BaseException], *arguments: object) -> NoReturn:
    raise kind(*arguments)


class RaisesOnLoad:
    """Unpickling it raises ``kind(text)``."""

    def __init__(self, kind: type[BaseException], text: str) -> None:
        self.kind, self.text = kind, text

    def __reduce__(self) -> tuple[object, ...]:
        return _raise, (self.kind, self.text)


class RaisesOnDump:
    """Pickling it raises ``kind(text)``."""

    def __init__(self, kind: type[BaseException], text: str) -> None:
        self.kind, self.text = kind, text

    def __reduce__(self) -> tuple[object, ...]:
        raise self.kind(self.text)


def make_raises_on_load(kind: type[BaseException], text: str) -> RaisesOnLoad:
    return RaisesOnLoad(kind, text)


def make_raises_on_dump(kind: type[BaseException], text: str) -> RaisesOnDump:
    return RaisesOnDump(kind, text)


def make_lock() -> object:
    return threading.Lock()


def stop_and_neg(gate: Gate, number: int) -> int:
    gate.stop()
    return -number


def ignore_sigterm_and_stop(gate: Gate) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gate.stop()


def stop_and_make_bytes(gate: Gate, size: int) -> bytes:
    gate.stop()
    return b"x" * size


def stop_and_length(gate: Gate, data: bytes) -> int:
    gate.stop()
    return len(data)


def make_bytes_and_die_soon(size: int, seconds: float) -> bytes:
    """Return ``size`` bytes; a child kills this process ``seconds`` from now."""
    worker, child = os.getpid(), os.fork()
    if child == 0:
        if os.fork() == 0:
            time.sleep(seconds)
            os.kill(worker, signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)
    return b"x" * size


def run_a_process(code: int) -> int | None:
    """The exit code of a process that this task starts with multiprocessing."""
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(code,))
    process.start()
    process.join(60)
    return process.exitcode


def stop_and_note_sigterm(gate: Gate) -> None:
    def clean_up(*_: object) -> NoReturn:
        gate.arrive("cleaned up")
        raise SystemExit

    signal.signal(signal.SIGTERM, clean_up)
    gate.stop()


def start_sleeper_and_stop(gate: Gate) -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    gate.stop(str(sleeper.pid))


# --- tasks that raise ---------------------------------------------------------------------------------------


class NeedsKeyword(Exception):
    """It can be pickled and not be rebuilt."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


class Unspeakable(Exception):
    """Asked what it is, it raises."""

    def __str__(self) -> str:
        raise RuntimeError("do not ask")

    __repr__ = __str__


class Unrebuildable(Exception):
    """Loading it raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, (ValueError, "not again")


def raise_unrebuildable() -> NoReturn:
    raise Unrebuildable("once only")


def raise_needs_keyword() -> NoReturn:
    raise NeedsKeyword("wants a keyword", code=3)


def raise_with_lock() -> NoReturn:
    raise ValueError("held", threading.Lock())


def raise_unspeakable() -> NoReturn:
    raise Unspeakable(threading.Lock())


def raise_noted() -> NoReturn:
    error = FileNotFoundError(2, "No such file or directory", "nowhere")
    error.add_note("look elsewhere")
    raise error


def raise_group() -> NoReturn:
    raise ExceptionGroup("both", [ValueError("one"), KeyError("two")])


def divide(a: int, b: int) -> float:
    return a / b


def divide_in_other_words(a: int, b: int) -> float:
    try:
        return a / b
    except ZeroDivisionError as error:
        raise ValueError("no such share") from error


def same(value: object) -> object:
    return value


# --- what an initializer leaves in a worker -----------------------------------------------------------------

_remembered: object = None


def remember(value: object) -> None:
    global _remembered
    _remembered = value


def recall() -> object:
    return _remembered


def try_remembered_lock() -> bool:
    """Can it be had at once?  It is given back."""
    lock: Any = _remembered
    if got := lock.acquire(block=False):
        lock.release()
    return bool(got)


def stop_and_divide(gate: Gate) -> float:
    gate.stop()
    return divide(1, 0)


# --- tasks that change the process they run in --------------------------------------------------------------


def nest(method: str, workers: int, factor: int) -> list[int]:
    from executor import ProcessPoolExecutor

    with ProcessPoolExecutor(workers, mp_context=method) as pool:
        return list(pool.map(operator.mul, [0, -1, -2], [factor + 1] * 3, timeout=60))


def run_a_command(command: str) -> int:
    return subprocess.run(["sh", "-c", command], timeout=60).returncode


def use_a_standard_pool() -> list[int]:
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return list(pool.map(operator.neg, range(3), timeout=60))


def leave_a_child_behind() -> int:
    """The pid of a fork of this process that keeps all its descriptors and does nothing."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(600)
        os._exit(0)
    return child


def close_every_descriptor() -> str:
    os.closerange(0, 65536)
    return "closed"


def leave_a_thread_behind() -> int:
    threading.Thread(target=hang, daemon=False).start()
    return os.getpid()


def change_every_signal_handler() -> int:
    for number in (
        signal.SIGTERM,
        signal.SIGCHLD,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGHUP,
        signal.SIGALRM,
    ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    return os.getpid()


def change_directory(path: str) -> int:
    os.chdir(path)
    return os.getpid()


def import_and_call(module: str, name: str, *arguments: object) -> object:
    return getattr(importlib.import_module(module), name)(*arguments)


def close_standard_streams() -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def fork_and_return() -> int:
    os.fork()
    return os.getpid()


def nested_list(depth: int) -> list[object]:
    """Too deep for pickle, in C too where it is not careful."""
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def pid_of(_: object) -> int:
    return os.getpid()


def divide_by_zero() -> float:
    return divide(1, 0)


def exit_7() -> NoReturn:
    die("exit-7")


def sleep_and_return(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def arrive_and_hold_gil(gate: Gate, seconds: float) -> None:
    gate.arrive()
    hold_gil(seconds)


def arrive_and_die_once(gate: Gate, flag: str) -> str:
    gate.arrive("victim")
    return die_once("SIGKILL", flag)


def call(function: Callable[[], object]) -> object:
    return function()


def where_outside_and_in() -> tuple[object, object]:
    from executor import ProcessPoolExecutor
    from tests import limits

    with ProcessPoolExecutor(1) as pool:
        return limits.where(), pool.submit(limits.where).result(60)


# --- exceptions with a past -----------------------------------------------------------------------------------------


def raise_without_context() -> NoReturn:
    try:
        divide(1, 0)
    except ZeroDivisionError:
        raise ValueError("in other words") from None


def raise_in_a_handler() -> NoReturn:
    try:
        divide(1, 0)
    except ZeroDivisionError:
        raise ValueError("in the handler")  # noqa: B904 - the context is what is tested


def raise_from_three(lock: bool = False) -> NoReturn:
    """A cause of a cause; with a lock, the one in the middle cannot be pickled."""
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            error.add_note("a note of the first")
            raise (ValueError("second", threading.Lock()) if lock else ValueError("second")) from error
    except ValueError as error:
        raise RuntimeError("third") from error


def raise_in_a_circle() -> NoReturn:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


class OwnGroup(ExceptionGroup[Exception]):
    """A class of its own, with an attribute."""

    def derive(self, excs: Any) -> OwnGroup:
        return OwnGroup(self.message, excs)


def raise_nested_group(own: bool = False, lock: bool = False) -> NoReturn:
    """A group in a group, whose members have causes of their own."""
    members: list[Exception] = []
    for kind in (KeyError, IndexError):
        try:
            try:
                raise OSError(2, "nowhere")
            except OSError as error:
                raise kind("member") from error
        except kind as error:
            error.add_note("a note of a member")
            members.append(error)
    if lock:
        members.append(ValueError("held", threading.Lock()))
    make = OwnGroup if own else ExceptionGroup
    group = make("outer", [TypeError("alone"), ExceptionGroup("inner", members)])
    group.add_note("a note of the group")
    raise group from LookupError("why")


def die_once_then_divide(flag: str) -> float:
    die_once("SIGKILL", flag)
    return divide(1, 0)


def divide_in_a_pool() -> float:
    from executor import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as pool:
        return pool.submit(divide, 1, 0).result()
