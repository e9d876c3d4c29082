"""What a test may not leave behind: processes, threads, open descriptors, files in /dev/shm."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

# A process that was killed, a thread past its last statement: each needs a moment, more on a busy machine.
PATIENCE = 20.0
SHM = Path("/dev/shm")

# Whatever is started from here carries this in its environment, and so is found when its parent is gone.
MARK = f"EXECUTOR_TESTS={os.getpid()}-{time.monotonic_ns()}"
os.environ.update([MARK.split("=")])

Key = TypeVar("Key")


@dataclass(frozen=True)
class Snapshot:
    """What there is at one moment: for each thing its key, and a text for a person."""

    processes: dict[tuple[int, int], str]
    threads: dict[int, str]
    descriptors: dict[tuple[int, str], str]
    shared_memory: dict[str, str]

    @classmethod
    def take(cls) -> Snapshot:
        pids, descriptors = _singletons()
        return cls(
            processes={
                (process.pid, process.started): process.describe()
                for process in _our_processes()
                if process.pid not in pids
            },
            threads=dict(_threads()),
            descriptors={pair: pair[1] for pair in _descriptors() if pair[0] not in descriptors},
            shared_memory={name: str(SHM / name) for name in os.listdir(SHM)},
        )

    def since(self, before: Snapshot) -> Snapshot:
        """What is here and was not there."""
        return Snapshot(
            processes=_new(self.processes, before.processes),
            threads=_new(self.threads, before.threads),
            descriptors=_new(self.descriptors, before.descriptors),
            shared_memory=_without_foreign(_new(self.shared_memory, before.shared_memory)),
        )

    def __bool__(self) -> bool:
        return bool(self.processes or self.threads or self.descriptors or self.shared_memory)

    def __str__(self) -> str:
        lines = [f"process {pid}: {text}" for (pid, _), text in self.processes.items()]
        lines += [f"thread {text}" for text in self.threads.values()]
        lines += [f"descriptor {number}: {text}" for (number, _), text in self.descriptors.items()]
        lines += [f"file {text}" for text in self.shared_memory.values()]
        return "\n".join(lines)


def leaked_since(before: Snapshot) -> Snapshot:
    """What was left and does not go away by itself.  Nothing is reaped here: a zombie is a leak too."""
    if not Snapshot.take().since(before):
        return Snapshot({}, {}, {}, {})
    limit = time.monotonic() + PATIENCE
    while True:
        # An executor in a reference cycle (an exception that a test has caught) ends when it is collected; another
        # thread may have been about to let go of the cycle.
        gc.collect()
        for _ in range(20):
            if not (leak := Snapshot.take().since(before)) or time.monotonic() >= limit:
                return leak
            time.sleep(0.01)


def end(leak: Snapshot) -> None:
    """Kill the processes that were left, so that the tests to come do not meet them."""
    for pid, _ in leak.processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _new(now: dict[Key, str], before: dict[Key, str]) -> dict[Key, str]:
    return {key: text for key, text in now.items() if key not in before}


def _singletons() -> tuple[set[int | None], set[int | None]]:
    """Pids and descriptors of what a process starts once, when first needed, and keeps: servers, trackers."""
    pids: set[int | None] = set()
    descriptors: set[int | None] = set()
    for name in ("multiprocessing.resource_tracker", "loky.backend.resource_tracker"):
        if tracker := getattr(sys.modules.get(name), "_resource_tracker", None):
            pids.add(tracker._pid)
            descriptors.add(tracker._fd)
    for name, attribute in (
        ("multiprocessing.forkserver", "_forkserver"),
        ("executor._fork_server", "_server"),
        ("executor._fork_server", "_bare_server"),
    ):
        if server := getattr(sys.modules.get(name), attribute, None):
            pids.add(server._forkserver_pid)
            descriptors.add(server._forkserver_alive_fd)
    return pids, descriptors


def _threads() -> Iterator[tuple[int, str]]:
    alive = set(os.listdir("/proc/self/task"))
    for thread in threading.enumerate():
        # Python 3.11 and 3.12 list a thread that they did not start themselves even after its end.
        if str(thread.native_id) in alive:
            yield thread.native_id or 0, repr(thread)


def _descriptors() -> Iterator[tuple[int, str]]:
    for number in os.listdir("/proc/self/fd"):
        # One of them is the descriptor that lists the others.
        with suppress(FileNotFoundError):
            yield int(number), os.readlink(f"/proc/self/fd/{number}")


class _Process(NamedTuple):
    """The part of /proc/PID/stat that is needed here."""

    pid: int
    parent: int
    state: str
    started: int
    environment: int  # its address: random for each program that is started, the same in what that forks

    @classmethod
    def read(cls, pid: int) -> _Process | None:
        # Read twice for every test and every process of the machine: pathlib would take most of the time.
        try:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                fields = file.read(4096).rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return cls(pid, int(fields[1]), fields[0].decode(), int(fields[19]), int(fields[47]))

    def is_marked(self) -> bool:
        try:
            return MARK.encode() in Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def describe(self) -> str:
        try:
            command = Path(f"/proc/{self.pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            command = ""
        return f"state {self.state}, child of {self.parent}: {command[:200]}"


def _all_processes() -> list[_Process]:
    found = (_Process.read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None]


def _our_processes() -> list[_Process]:
    """All that descend from this process, also through parents that are gone."""
    everything = _all_processes()
    parents = {process.pid: process.parent for process in everything}
    me = next(process for process in everything if process.pid == os.getpid())

    def descends(pid: int) -> bool:
        while pid and pid != me.pid:
            pid = parents.get(pid, 0)
        return pid == me.pid

    def is_ours(process: _Process) -> bool:
        if process.pid == me.pid or process.started < me.started:
            return False
        return descends(process.parent) or (process.environment == me.environment != 0) or process.is_marked()

    return [process for process in everything if is_ours(process)]


def _without_foreign(files: dict[str, str]) -> dict[str, str]:
    """Leave out what a process of somebody else holds: /dev/shm is one for the whole machine."""
    if not files:
        return files
    ours = {process.pid for process in _our_processes()} | {os.getpid()}
    foreign = [process.pid for process in _all_processes() if process.pid not in ours]
    return {name: path for name, path in files.items() if not any(_holds(pid, path) for pid in foreign)}


def _holds(pid: int, path: str) -> bool:
    """Does this process map or open that file?  The inode tells: a semaphore is mapped under another name."""
    with suppress(OSError):
        file = os.stat(path)
        identity = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x} {file.st_ino} "
        if identity in Path(f"/proc/{pid}/maps").read_text(errors="replace"):
            return True
        return any(os.path.samestat(file, opened) for opened in _opened_files(pid))
    return False


def _opened_files(pid: int) -> Iterator[os.stat_result]:
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            yield os.stat(f"/proc/{pid}/fd/{number}")
