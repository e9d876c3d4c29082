"""The loop's turns: what is to be run is run once, whatever it does itself.  No process; the test leads the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from executor import _loop
from executor._loop import Loop, Parked
from tests.support import HANG, eventually


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Nobody leads it but the test: its thread is not started."""
    failures: list[BaseException] = []
    loop = Loop("test", lambda: None, failures.append, lambda: False)
    yield loop
    loop.close()
    loop.free()
    assert not failures


def lead_until(loop: Loop, ready: Callable[[], bool]) -> None:
    assert loop.wait(ready, monotonic() + HANG, list)


@pytest.mark.parametrize("how", ["soon", "at"])
def test_an_action_that_waits_runs_once_and_the_others_meanwhile(loop: Loop, how: str) -> None:
    ran: list[str] = []

    def outer() -> None:
        ran.append("outer begins")
        lead_until(loop, lambda: "second" in ran)
        ran.append("outer ends")

    for action in (outer, lambda: ran.append("first"), lambda: ran.append("second")):
        if how == "soon":
            loop.call_soon(action)
        else:
            loop.call_at(monotonic(), action)
    lead_until(loop, lambda: "outer ends" in ran)
    assert ran == ["outer begins", "first", "second", "outer ends"]


def test_what_an_action_adds_runs_in_another_turn(loop: Loop) -> None:
    turns: list[int] = []

    def again() -> None:
        turns.append(loop._turn)
        if len(turns) < 3:
            loop.call_soon(again)

    loop.call_soon(again)
    lead_until(loop, lambda: len(turns) == 3)
    assert turns == sorted(set(turns))


@pytest.mark.parametrize("how", ["soon", "at"])
def test_an_interrupted_action_runs_again(loop: Loop, how: str) -> None:
    ran: list[int] = []

    def interrupted() -> None:
        ran.append(len(ran))
        if len(ran) == 1:
            raise KeyboardInterrupt

    if how == "soon":
        loop.call_soon(interrupted)
    else:
        loop.call_at(monotonic(), interrupted)
    with pytest.raises(KeyboardInterrupt):
        lead_until(loop, lambda: len(ran) == 2)
    lead_until(loop, lambda: len(ran) == 2)


def test_a_cancelled_timer_does_not_run(loop: Loop) -> None:
    ran: list[str] = []
    timer = loop.call_at(monotonic(), lambda: ran.append("cancelled"))
    loop.call_at(monotonic(), lambda: ran.append("kept"))
    timer.cancel()
    lead_until(loop, lambda: bool(ran))
    assert ran == ["kept"]


def test_a_thread_that_waits_again_is_not_left_without_a_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was woken, and waits again before the loop's thread, which is to step aside for it, has ended its turn."""
    monkeypatch.setattr(_loop, "_HANDBACK", 10 * HANG)
    failures: list[BaseException] = []
    loop = Loop("test", lambda: None, failures.append, lambda: False)
    waiters: list[Parked] = []
    said: list[str] = []

    def say(word: str) -> None:
        said.append(word)
        with loop.lock:
            loop.note_woken()
            for parked in waiters:
                parked.wake()

    def first() -> None:
        eventually(lambda: bool(loop.parked))
        say("first")
        loop.call_soon(lambda: say("second"))
        eventually(lambda: "again" in said and bool(loop.parked))

    loop.thread.start()
    try:
        eventually(lambda: loop._leading)
        loop.call_soon(first)
        assert loop.wait(lambda: "first" in said, monotonic() + HANG, lambda: waiters)
        said.append("again")
        assert loop.wait(lambda: "second" in said, monotonic() + HANG, lambda: waiters)
    finally:
        loop.close()
        loop.thread.join()
    assert not failures
