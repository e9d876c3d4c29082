"""Which task is late, and whose lateness it is; which late workers are waited for."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from time import monotonic, monotonic_ns
from typing import Any

import pytest

from executor._options import Options
from executor._status import ITEM, RUNNING, STARTED
from executor._task import Run
from executor._watch import Watch, _is_runnable
from executor._worker import Lease, Worker
from tests.support import eventually


class Timers:
    """A loop whose timers go off when the test says so."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.set: list[tuple[float, Callable[[], object]]] = []

    def call_at(self, due: float, act: Callable[[], object]) -> None:
        self.set.append((due, act))

    def go_off(self) -> None:
        _, act = self.set.pop()
        act()


class Page(list[int]):
    """The words of a worker that goes on to its next item as soon as that word has been read."""

    moves_on_after = -1

    def __getitem__(self, word: Any) -> Any:
        value = super().__getitem__(word)
        if word == self.moves_on_after:
            self[STARTED], self[ITEM] = monotonic_ns(), 1
        return value


class Block:
    def __init__(self) -> None:
        self.words = Page([0] * 16)

    def clear_log(self) -> None:
        pass


class Items(Run):
    options = Options(timeout=1)
    lease: Any = None

    def name(self) -> str:
        return "items"


@pytest.fixture
def late() -> Worker:
    """A worker that has been for two seconds at the first of two items that may take one."""
    worker = Worker(1, 0.0)
    block: Any = Block()
    worker.block = block
    worker.leases[7] = Lease(7, Items([0, 1]), None, 0.0)
    worker.words[STARTED], worker.words[RUNNING] = monotonic_ns() - 2 * 10**9, 7
    return worker


def watch(worker: Worker, timers: Timers, *alone: bool) -> None:
    """Arm the watch and let it have one look. ``alone``: what it is told of the worker, each time it asks."""
    answers = iter(alone)
    loop: Any = timers
    unused: Any = None
    Watch(loop, unused, unused, lambda *_: next(answers)).arm(worker, Items.options)
    timers.go_off()


def test_it_is_late(late: Worker) -> None:
    watch(late, Timers(), True)
    assert late.sentenced == (7, 0)


def test_nothing_happens_while_the_next_might_still_begin(late: Worker) -> None:
    timers = Timers()
    watch(late, timers, False, True)
    assert late.sentenced is None
    assert timers.set[0][0] - monotonic() < 0.1
    timers.go_off()
    assert late.sentenced == (7, 0)


@pytest.mark.parametrize(("word", "sentenced"), [(ITEM, None), (STARTED, (7, 0))])
def test_the_next_item_is_never_taken_for_the_late_one(
    late: Worker, word: int, sentenced: tuple[int, int] | None
) -> None:
    page: Any = late.words
    page.moves_on_after = word
    watch(late, Timers(), True)
    assert late.sentenced == sentenced


@pytest.mark.parametrize(("script", "runs"), [("while :; do :; done", True), ("read line", False)])
def test_a_process_that_works_and_one_that_sleeps(script: str, runs: bool) -> None:
    worker = Worker(1, 0.0)
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE) as process:
        worker.pid = process.pid
        eventually(lambda: _is_runnable(worker) is runs)
        process.kill()
    assert not _is_runnable(worker)
