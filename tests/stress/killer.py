"""The killer of a storm: every so often, one worker that has run a task, chosen at random, gets SIGKILL; before that,
if it is asked to, some are stopped for a moment.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from types import TracebackType

import psutil

from tests.stress.journal import BEGAN, Reader

PAUSES = 4  # before each kill


class Killer:
    """A thread that kills until it is stopped: ``with Killer(journal, every, seed) as killer``.

    Its victims are the processes that the journal names, so that it works for every pool, whatever its
    face. ``pause``: how many seconds a worker is stopped at most. The seed fixes which of the living comes next, not
    when the machine lets things happen.
    """

    def __init__(self, journal: str, every: float, seed: int, pause: float = 0.0) -> None:
        self.killed: list[int] = []  # this thread's until stop() has returned
        self._every = every
        self._pause = pause
        self._choice = random.Random(seed)
        self._reader = Reader(journal)
        self._alive: dict[int, psutil.Process] = {}
        self._seen: set[int] = set()
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._reader.close()

    def stop(self) -> None:
        """Kill no more. When this returns, nothing is under way."""
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._enough.wait(self._every):
            self._look()
            if self._pause:
                for _ in range(PAUSES):
                    self._stop_for_a_moment()
            if self._alive:
                self._kill(self._choice.choice(sorted(self._alive)))

    def _look(self) -> None:
        for event, _, pid in self._reader.new_entries():
            if event == BEGAN and pid not in self._seen:
                self._seen.add(pid)
                try:
                    self._alive[pid] = psutil.Process(pid)
                except psutil.NoSuchProcess:
                    pass  # it went by itself, between its note and now
        # A retired worker is no victim. is_running() knows a pid that was given away again.
        self._alive = {pid: process for pid, process in self._alive.items() if process.is_running()}

    def _stop_for_a_moment(self) -> None:
        """Between two tasks as well as within one: it does not come to begin what it holds."""
        if not self._alive:
            return
        process = self._alive[self._choice.choice(sorted(self._alive))]
        try:
            process.send_signal(signal.SIGSTOP)
            time.sleep(self._choice.uniform(0.0, self._pause))
            process.send_signal(signal.SIGCONT)
        except psutil.NoSuchProcess:
            pass

    def _kill(self, pid: int) -> None:
        try:
            self._alive.pop(pid).kill()
        except psutil.NoSuchProcess:
            return
        self.killed.append(pid)
