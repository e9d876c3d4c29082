"""What the tests wait with and look with: bounded waits, gates, live processes, programs run apart.

Nothing here measures a duration.  ``HANG`` is the limit after which a wait counts as a hang; it is generous,
so that a busy machine does not fail a test.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

HANG = 30.0
ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(__file__).resolve().parent / "scripts"

# TEST_START_METHODS: some of them only, separated by commas.
START_METHODS = tuple(os.environ.get("TEST_START_METHODS", "fork,forkserver,spawn,loky").split(","))

T = TypeVar("T")


def cases(everywhere: Iterable[T], once: Iterable[T]) -> list[tuple[str, T]]:
    """Pairs of a start method and a case: some cases under each method, the others under the default alone.

    Starting an interpreter takes long, and most of what a task does has nothing to do with how its worker began.
    """
    pairs = [(method, case) for case in everywhere for method in START_METHODS]
    return pairs + [("forkserver", case) for case in once]


def eventually(question: Callable[[], T], within: float | None = None, every: float = 0.005) -> T:
    """Ask until the answer is true; the answer.  AssertionError after ``within`` seconds (HANG)."""
    limit = time.monotonic() + (HANG if within is None else within)
    while not (answer := question()):
        if time.monotonic() > limit:
            raise AssertionError(f"still {answer!r}")
        time.sleep(every)
    return answer


# --- meeting a task -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """A directory where tasks stop until the test opens it.  It pickles, so a task can be given one."""

    directory: str

    # In the task.

    def arrive(self, note: str = "") -> None:
        name = f"{os.getpid()}-{time.monotonic_ns()}-{note}"
        os.close(os.open(os.path.join(self.directory, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY))

    def wait_open(self, within: float = 60.0) -> None:
        eventually(lambda: self.is_open, within, every=0.002)

    def stop(self, note: str = "") -> None:
        """Arrive, then wait until the gate is open."""
        self.arrive(note)
        self.wait_open()

    # In the test.

    @property
    def is_open(self) -> bool:
        return os.path.exists(os.path.join(self.directory, "open"))

    def open(self) -> None:
        Path(self.directory, "open").touch()

    def arrivals(self) -> list[tuple[int, str]]:
        """The pid and the note of each arrival so far, in order."""
        names = (name.split("-", 2) for name in os.listdir(self.directory) if name != "open")
        return [(int(pid), note) for pid, _, note in sorted(names, key=lambda parts: int(parts[1]))]

    def wait_arrivals(self, count: int = 1) -> list[int]:
        """The pids of the first ``count`` arrivals or more, waiting for them."""
        eventually(lambda: len(self.arrivals()) >= count)
        return [pid for pid, _ in self.arrivals()]


def new_gate(directory: Path) -> Gate:
    path = directory / f"gate-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    return Gate(str(path))


# --- processes ----------------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    """Is it running?  A dead process that nobody has reaped yet is not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def wait_gone(*pids: int) -> None:
    eventually(lambda: not any(alive(pid) for pid in pids))


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_stopped(pid: int) -> None:
    """After a SIGSTOP: until every thread of the process has in truth stopped."""
    eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)


_KILLER = """
import os, signal, sys, time
pids, limit, quiet, last = [int(a) for a in sys.argv[1:]], time.monotonic() + 30, 0, None
def look(pid):
    try:
        parts = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    except OSError:
        return None
    return parts[0], parts[11], parts[12]
while quiet < 20 and time.monotonic() < limit:
    now = [look(pid) for pid in pids]
    calm = now == last and not any(state and state[0] in "RD" for state in now)
    quiet, last = quiet + 1 if calm else 0, now
    time.sleep(0.01)
for pid in pids:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def kill_when_stuck_while_parent_is_frozen(*pids: int) -> None:
    """SIGKILL the processes once none of them gets any further, while no thread of this process can run.

    This process waits in C code that keeps the GIL.  Whatever those processes send meanwhile stays in the
    sockets: a large outcome is half sent, a small one is sent but not read.
    """
    killer = subprocess.Popen([sys.executable, "-I", "-S", "-c", _KILLER, *map(str, pids)])
    ctypes.PyDLL(None).waitpid(killer.pid, None, 0)
    killer.wait()


def open_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def switches(pids: list[int], skip_thread: int | None = None) -> int:
    """How often the threads of these processes have been woken so far."""
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            if int(thread) != skip_thread:
                status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
                lines = (line.split() for line in status.splitlines())
                total += next(int(line[1]) for line in lines if line[0] == "voluntary_ctxt_switches:")
    return total


# --- programs -----------------------------------------------------------------------------------------------


class Program:
    """A script of tests/scripts that runs in a process group of its own, watched from outside.

    Every process that descends from it carries a token in its environment, so that ``family`` finds the ones
    whose parents are gone too.
    """

    def __init__(self, name: str, *arguments: str, directory: Path) -> None:
        self.token = uuid.uuid4().hex
        self._out = directory / f"{self.token}.out"
        self._err = directory / f"{self.token}.err"
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "TEST_TOKEN": self.token,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPTS / name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def wait_line(self, start: str) -> str:
        """The rest of the first whole line of output that starts so."""

        def find() -> str | None:
            for line in self.out.splitlines(keepends=True):
                if line.startswith(start) and line.endswith("\n"):
                    return " " + line[len(start) :].strip()
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.out}{self.err}"
            return None

        found = eventually(find)
        assert found is not None
        return found.strip()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def wait(self, within: float | None = None) -> int:
        """The exit code; AssertionError with what it wrote when it does not end."""
        try:
            return self.process.wait(HANG if within is None else within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end\n--- out\n{self.out}\n--- err\n{self.err}") from None

    def family(self) -> list[psutil.Process]:
        """Every process still alive that descends from this one, itself included."""
        mark = f"TEST_TOKEN={self.token}".encode()
        found = []
        for process in psutil.process_iter():
            try:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0") and alive(process.pid):
                found.append(process)
        return found

    def wait_family_gone(self, within: float | None = None) -> None:
        try:
            eventually(lambda: not self.family(), within, every=0.02)
        except AssertionError:
            left = [(p.pid, p.cmdline()) for p in self.family()]
            raise AssertionError(f"left behind: {left}") from None


@contextlib.contextmanager
def program(name: str, *arguments: str, directory: Path) -> Iterator[Program]:
    """Run a script; at the end of the block every process of its family is killed."""
    running = Program(name, *arguments, directory=directory)
    try:
        yield running
    finally:
        for process in running.family():
            kill(process.pid)
        running.process.wait()


# --- a fork of this process ---------------------------------------------------------------------------------


def in_forked_child(act: Callable[[], object]) -> str:
    """Fork, call ``act`` in the child, and say how it ended: "Type: text", "returned ..." or "hangs"."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(act, writing)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], HANG)
        answer = os.read(reading, 65536).decode() if ready else "hangs"
    finally:
        os.close(reading)
        kill(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return answer or "died"


def _answer(act: Callable[[], object], writing: int) -> None:
    try:
        answer = f"returned {act()!r}"
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    try:
        os.write(writing, answer.encode()[:60000])
    finally:
        os._exit(0)


# --- errors -------------------------------------------------------------------------------------------------


def chain(error: BaseException | None) -> list[BaseException]:
    """The error, its cause or context, and so on down."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def told(error: BaseException | None) -> str:
    """Everything that the error and its causes say, with the names of their types."""
    return "\n".join(f"{type(e).__name__}: {e}" for e in chain(error))
