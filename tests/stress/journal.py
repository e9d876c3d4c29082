"""What tasks did, in the order they did it, from many processes: an append-only file.

Each note is one ``write`` to a file opened with O_APPEND: it lands whole, at the end, and stays when its
writer is killed the next moment. So the journal tells what no message of a pool can: what really ran.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

BEGAN, ENDED, SETTLED = "began", "ended", "settled"


class Entry(NamedTuple):
    """One note: the task began or ended in that process, or its future was settled in the parent."""

    event: str
    task: int
    pid: int


def note(path: str, event: str, task: int) -> None:
    """Add a line."""
    pid = os.getpid()
    os.write(_descriptor(path, pid), f"{event} {task} {pid}\n".encode())


@functools.cache
def _descriptor(path: str, pid: int) -> int:
    """This process's own descriptor. The pid is in the key: a forked worker may have closed its parent's."""
    del pid
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def forget(path: str) -> None:
    """Close this process's descriptor."""
    os.close(_descriptor(path, os.getpid()))
    _descriptor.cache_clear()


class Reader:
    """Reads a journal as it grows."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a+")  # noqa: SIM115 - closed by close()
        self._file.seek(0)
        self._rest = ""

    def new_entries(self) -> Iterator[Entry]:
        """What was added since the last call."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for line in lines:
            event, task, pid = line.split()
            yield Entry(event, int(task), int(pid))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: str) -> list[Entry]:
    """The whole journal."""
    reader = Reader(path)
    try:
        return list(reader.new_entries())
    finally:
        reader.close()


class History(NamedTuple):
    """One task's notes: the pids that began it, those that ended it, how often it began once settled."""

    began: list[int]
    ended: list[int]
    began_after_settled: int


def by_task(entries: Iterable[Entry]) -> dict[int, History]:
    """The histories of all tasks that began."""
    histories: dict[int, History] = {}
    settled: set[int] = set()
    for event, task, pid in entries:
        history = histories.get(task) or History([], [], 0)
        if event == BEGAN:
            history.began.append(pid)
            history = history._replace(began_after_settled=history.began_after_settled + (task in settled))
        elif event == ENDED:
            history.ended.append(pid)
        else:
            settled.add(task)
        histories[task] = history
    return histories
