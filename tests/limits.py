"""Tasks that meet the limits of their worker: memory, time, the number of their kind."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import threading
import time
from pathlib import Path

from executor import SoftTimeout, current_task, current_worker
from tests.support import Gate

MB = 1_000_000
_kept: list[mmap.mmap] = []


def take_memory(size: int) -> mmap.mmap:
    """Resident memory that can be given back for certain, which malloc does not promise."""
    taken = mmap.mmap(-1, size)
    for start in range(0, size, mmap.PAGESIZE):
        taken[start] = 1
    return taken


def grow(step: int, limit: int, gate: Gate | None = None) -> int:
    """Take memory step by step up to the limit; how much was had."""
    had: list[mmap.mmap] = []
    while len(had) * step < limit:
        had.append(take_memory(step))
        time.sleep(0.01)
        if gate is not None:
            gate.arrive()
    return len(had) * step


def take_and_give_back(size: int) -> None:
    take_memory(size).close()


def keep_memory_later(size: int, gate: Gate) -> int:
    """Return at once; take memory for good, idle, when the gate opens."""

    def wait_then_keep() -> None:
        gate.wait_open()
        _kept.append(take_memory(size))
        gate.arrive("kept")

    threading.Thread(target=wait_then_keep, daemon=True).start()
    return os.getpid()


def arrive_and_pid(gate: Gate, note: str = "") -> int:
    gate.arrive(note)
    return os.getpid()


def stop_and_pid(gate: Gate, note: str = "") -> int:
    gate.stop(note)
    return os.getpid()


def count_attempts_and_die(gate: Gate, deaths: int) -> int:
    """Die the first ``deaths`` times; which attempt this is."""
    task = current_task()
    assert task is not None
    gate.arrive(str(task.attempt))
    if len(gate.arrivals()) <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    return task.attempt


def arrive_and_raise(gate: Gate) -> None:
    gate.arrive()
    raise ValueError("its own")


def arrive_and_grow(gate: Gate, limit: int) -> int:
    gate.arrive()
    return grow(5 * MB, limit)


def arrive_and_hang(gate: Gate, note: str = "") -> None:
    gate.arrive(note)
    threading.Event().wait(600)


def deaf_hang(gate: Gate) -> None:
    """Hang, deaf to every signal that can be ignored or blocked."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    arrive_and_hang(gate)


def hang_without_end(gate: Gate) -> None:
    """Catch whatever is raised in it and go on."""
    gate.arrive()
    limit = time.monotonic() + 600
    while time.monotonic() < limit:
        try:
            time.sleep(1)
        except BaseException:
            gate.arrive("caught")


def hang_on_first_attempt(gate: Gate) -> str:
    gate.arrive()
    if len(gate.arrivals()) == 1:
        threading.Event().wait(600)
    return "second time"


def clean_up_on_soft_timeout(gate: Gate) -> str:
    try:
        time.sleep(600)
    except SoftTimeout:
        gate.arrive("cleaned up")
        return "in time"
    return "late"


def hang_if_odd(number: int) -> int:
    if number % 2:
        threading.Event().wait(600)
    return number


def hang_with_children(gate: Gate) -> None:
    """Hang together with a child and a grandchild; all their pids arrive."""
    if os.fork() == 0:
        os.fork()
        gate.arrive()
        time.sleep(600)
        os._exit(0)
    gate.arrive()
    time.sleep(600)


def where() -> tuple[int, int, str, int]:
    worker = current_worker()
    assert worker is not None
    return worker.id, worker.slot, worker.name, worker.pid


def stop_and_where(gate: Gate) -> tuple[int, int, str, int]:
    gate.stop()
    return where()


def what() -> tuple[str, int]:
    task = current_task()
    assert task is not None
    return task.name, task.attempt


def use_slot_alone(directory: str) -> bool:
    """Whether nobody else who lives holds this worker's slot.  It is held until the worker dies."""
    worker = current_worker()
    assert worker is not None
    if worker.id not in _held:
        file = _held[worker.id] = os.open(Path(directory, f"slot-{worker.slot}"), os.O_CREAT | os.O_WRONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


_held: dict[int, int] = {}


def in_a_busy_function(gate: Gate) -> None:
    """Run Python code until the gate opens."""
    gate.arrive()
    while not gate.is_open:
        pass


def pause_and_pid(seconds: float) -> int:
    if seconds:
        time.sleep(seconds)
    return os.getpid()


class LoadsOnce:
    """A callable that only the process in which it was made can load."""

    def __init__(self, home: int) -> None:
        self.home = home

    def __call__(self, item: int) -> int:
        return item

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return _load_at_home, (self.home,)


def _load_at_home(home: int) -> LoadsOnce:
    if os.getpid() != home:
        raise ImportError("not here")
    return LoadsOnce(home)
