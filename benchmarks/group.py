"""A command in a process group of its own, which answers in lines of JSON and ends when we say so."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL for what is left of the group. Resource trackers ignore the first: they
go by themselves once everybody else has, and remove the semaphores that were forgotten."""


class Group:
    """``with Group(module, *arguments) as group``: at the end nothing of it is left, whatever it did.

    The module's ``main()`` is called from ``-c``, so that there is no main module to import: each worker
    under spawn and forkserver would load it again, and pay for what only the measuring side needs.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", f"from {module} import main; main()", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )

    def __enter__(self) -> Group:
        return self

    def answer(self, within: float) -> dict[str, Any] | None:
        """The next line; None when there was none within so many seconds, {} when the command has ended.

        The pipe may stay open in processes that were left behind, so only a line ends the wait for sure;
        each is short enough to be written, and so read, in one piece.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], within)
        if not ready:
            return None
        line = os.read(self._process.stdout.fileno(), select.PIPE_BUF)
        answer = json.loads(line or b"{}")
        assert isinstance(answer, dict)
        return answer

    def go_on(self) -> None:
        """Send the line that the command waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        end_rest(self._process.pid)


def end_rest(group: int) -> None:
    """End what is left of a group whose leader is gone."""
    deadline = time.monotonic() + GRACE
    while rest := living(group):
        late = time.monotonic() > deadline
        for process in rest:
            try:
                process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
            except psutil.NoSuchProcess:
                pass
        time.sleep(0.01)


def living(group: int) -> list[psutil.Process]:
    """The members of a process group; those not yet reaped by whoever has inherited them do not count."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return members
