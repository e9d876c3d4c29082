"""The dispatcher alone: no executor, no worker. What is put comes from a test, and the loop is a stand-in."""

from __future__ import annotations

import asyncio
import logging
import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executor._dispatcher import Dispatcher
from tests.support import HANG


class FakeLoop:
    """Notes that it was woken; when a thread waits, does one thing after the other that it was told."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.woken = 0
        self.deadlines: list[float | None] = []
        self.meanwhile: list[Callable[[], object]] = []

    def wake(self) -> None:
        self.woken += 1

    def wait(self, ready: Callable[[], bool], deadline: float | None, waiters: object, also: object = None) -> bool:
        self.deadlines.append(deadline)
        while self.meanwhile and not ready():
            self.meanwhile.pop(0)()
        return ready()


class Waiter:
    woken = 0

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def dispatcher(loop: FakeLoop) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(loop)  # type: ignore[arg-type]
    yield dispatcher
    dispatcher.close()
    dispatcher.inbox.pending.clear()  # this thread's, which the next test has as well


def in_thread(act: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(act()))
    thread.start()
    thread.join(HANG)
    return results[0]


# --- running ------------------------------------------------------------------------------------------------


def test_they_run_in_the_order_in_which_they_were_put(dispatcher: Dispatcher) -> None:
    order: list[int] = []
    for n in range(5):
        dispatcher.put(order.append, n)
    assert order == []
    assert not dispatcher.is_drained()
    assert dispatcher.run() == 5
    assert order == [0, 1, 2, 3, 4]
    assert dispatcher.is_drained()
    assert dispatcher.run() == 0


def test_what_is_put_meanwhile_runs_too_unless_there_is_a_limit(dispatcher: Dispatcher) -> None:
    order: list[int] = []

    def put_next(n: int) -> None:
        order.append(n)
        if n < 5:
            dispatcher.put(put_next, n + 1)

    dispatcher.put(put_next, 0)
    assert dispatcher.run(most=2) == 2
    assert dispatcher.run() == 4
    assert order == [0, 1, 2, 3, 4, 5]


def test_none_runs_inside_another(dispatcher: Dispatcher) -> None:
    seen: list[Any] = []

    def nested(value: int) -> None:
        seen.append((value, dispatcher.is_current(), dispatcher.run()))

    dispatcher.put(nested, 1)
    dispatcher.put(nested, 2)
    assert dispatcher.is_current()
    dispatcher.run()
    assert seen == [(1, False, 0), (2, False, 0)]
    assert dispatcher.is_current()


def test_no_two_run_at_once(dispatcher: Dispatcher) -> None:
    def run_elsewhere(value: int) -> None:
        ran.append(in_thread(dispatcher.run))

    ran: list[int] = []
    dispatcher.put(run_elsewhere, 1)
    dispatcher.put(run_elsewhere, 2)
    assert dispatcher.run() == 2
    assert ran == [0, 0]


def test_it_belongs_to_the_thread_that_made_it(dispatcher: Dispatcher) -> None:
    assert dispatcher.is_current()
    assert in_thread(dispatcher.is_current) is False


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), GeneratorExit("no")])
def test_one_that_raises_is_logged_and_the_rest_run(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def fail(value: object) -> None:
        raise error

    seen: list[int] = []
    dispatcher.put(fail, 1)
    dispatcher.put(seen.append, 2)
    with caplog.at_level(logging.ERROR, "executor"):
        assert dispatcher.run() == 2
    assert seen == [2]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_an_interrupt_goes_through_and_the_rest_is_kept(dispatcher: Dispatcher) -> None:
    def interrupted(value: object) -> None:
        raise KeyboardInterrupt

    seen: list[int] = []
    dispatcher.put(interrupted, 1)
    dispatcher.put(seen.append, 2)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.run()
    assert dispatcher.run() == 1
    assert seen == [2]


# --- waiting ------------------------------------------------------------------------------------------------


def test_wait_runs_what_is_due_and_does_not_wait_then(dispatcher: Dispatcher, loop: FakeLoop) -> None:
    dispatcher.put(len, "")
    assert dispatcher.wait(HANG) == 1
    assert loop.deadlines == []


def test_wait_without_a_timeout_of_any_length_does_not_wait(dispatcher: Dispatcher, loop: FakeLoop) -> None:
    assert dispatcher.wait(0) == 0
    assert loop.deadlines == []


def test_wait_runs_what_comes(dispatcher: Dispatcher, loop: FakeLoop) -> None:
    loop.meanwhile += [lambda: None, lambda: dispatcher.put(len, "")]
    assert dispatcher.wait(None) == 1
    assert loop.deadlines == [None]


def test_wait_ends_with_its_timeout_or_when_nothing_more_will_come(dispatcher: Dispatcher, loop: FakeLoop) -> None:
    assert dispatcher.wait(HANG) == 0
    assert len(loop.deadlines) == 1
    loop.meanwhile.append(dispatcher.close)
    assert dispatcher.wait(None) == 0
    assert dispatcher.wait(None) == 0


def test_whoever_waits_is_woken(dispatcher: Dispatcher) -> None:
    waiters = [Waiter(), Waiter()]
    dispatcher.inbox.waiters += waiters  # type: ignore[arg-type]
    dispatcher.put(len, "")
    assert [waiter.woken for waiter in waiters] == [1, 1]
    dispatcher.close()
    assert [waiter.woken for waiter in waiters] == [2, 2]


def test_drained_is_when_the_last_has_ended(dispatcher: Dispatcher) -> None:
    seen: list[Any] = []
    dispatcher.put(lambda _: seen.append(in_thread(dispatcher.is_drained)), 1)
    dispatcher.run()
    assert seen == [False]


def test_a_callback_may_wait_for_all_others(dispatcher: Dispatcher) -> None:
    """It would wait for itself: the others come after it."""
    dispatcher.put(lambda _: dispatcher.wait_until_drained(), 1)
    dispatcher.put(len, "")
    assert dispatcher.run() == 2


def test_another_thread_may_wait_until_all_have_run(dispatcher: Dispatcher, loop: FakeLoop) -> None:
    loop.meanwhile.append(lambda: (ran.set(), done.wait(HANG)))
    ran, done = threading.Event(), threading.Event()
    dispatcher.put(len, "")
    waiting = threading.Thread(target=dispatcher.wait_until_drained)
    waiting.start()
    assert ran.wait(HANG)
    before = loop.woken
    dispatcher.run()
    assert loop.woken > before
    done.set()
    waiting.join(HANG)
    assert not waiting.is_alive()


# --- the descriptor -----------------------------------------------------------------------------------------


def readable(dispatcher: Dispatcher) -> bool:
    return bool(select.select([dispatcher], [], [], 0)[0])


def test_it_is_readable_while_callbacks_wait(dispatcher: Dispatcher) -> None:
    assert not readable(dispatcher)
    dispatcher.put(len, "")
    dispatcher.put(len, "")
    assert readable(dispatcher)
    dispatcher.run()
    assert not readable(dispatcher)


def test_it_is_readable_if_they_waited_before(dispatcher: Dispatcher) -> None:
    dispatcher.put(len, "")
    assert readable(dispatcher)
    assert dispatcher.fileno() == dispatcher.fileno()


def test_a_limit_leaves_it_readable_only_by_what_comes(dispatcher: Dispatcher) -> None:
    dispatcher.fileno()
    dispatcher.put(lambda _: dispatcher.put(len, ""), 1)
    dispatcher.run(most=1)
    assert readable(dispatcher)


def test_more_callbacks_than_a_pipe_has_room(dispatcher: Dispatcher) -> None:
    dispatcher.fileno()
    for _ in range(70_000):
        dispatcher.put(len, "")
    assert readable(dispatcher)
    assert dispatcher.run() == 70_000
    assert not readable(dispatcher)


def test_after_close_there_is_no_descriptor(dispatcher: Dispatcher) -> None:
    dispatcher.fileno()
    dispatcher.close()
    with pytest.raises(ValueError, match="shut down"):
        dispatcher.fileno()
    dispatcher.put(len, "")
    assert dispatcher.run() == 1


# --- asyncio ------------------------------------------------------------------------------------------------


def test_in_the_noted_loop_they_run_by_themselves(dispatcher: Dispatcher) -> None:
    async def main() -> None:
        dispatcher.note_asyncio(asyncio.get_running_loop())
        done = asyncio.Event()
        for n in range(3):
            dispatcher.put(seen.append, n)
        dispatcher.put(lambda _: done.set(), None)
        assert seen == []
        await asyncio.wait_for(done.wait(), HANG)

    seen: list[int] = []
    asyncio.run(main())
    assert seen == [0, 1, 2]


def test_what_was_put_before_the_loop_was_noted_runs_in_it(dispatcher: Dispatcher) -> None:
    async def main() -> None:
        done = asyncio.Event()
        dispatcher.put(lambda _: done.set(), None)
        dispatcher.note_asyncio(asyncio.get_running_loop())
        await asyncio.wait_for(done.wait(), HANG)

    asyncio.run(main())


def test_a_callback_that_always_puts_another_does_not_stop_the_loop(dispatcher: Dispatcher) -> None:
    async def main() -> None:
        dispatcher.note_asyncio(asyncio.get_running_loop())
        dispatcher.put(again, None)
        while len(turns) < 10:
            turns.append(len(seen))
            await asyncio.sleep(0)

    def again(value: object) -> None:
        seen.append(value)
        dispatcher.put(again, value)

    seen: list[object] = []
    turns: list[int] = []
    asyncio.run(main())
    assert turns[0] < turns[-1] < 20  # both went on, one a turn


def test_with_a_closed_loop_they_wait_for_the_thread(dispatcher: Dispatcher) -> None:
    loop = asyncio.new_event_loop()
    dispatcher.note_asyncio(loop)
    loop.close()
    seen: list[int] = []
    dispatcher.put(seen.append, 1)
    dispatcher.put(seen.append, 2)
    assert dispatcher.run() == 2
    assert seen == [1, 2]


def test_no_loop_does_not_take_the_place_of_one(dispatcher: Dispatcher) -> None:
    async def main() -> None:
        dispatcher.note_asyncio(asyncio.get_running_loop())
        dispatcher.note_asyncio(None)
        done = asyncio.Event()
        dispatcher.put(lambda _: done.set(), None)
        await asyncio.wait_for(done.wait(), HANG)

    asyncio.run(main())


def test_one_for_a_loop_is_current_where_that_runs(loop: FakeLoop) -> None:
    async def main() -> bool:
        return Dispatcher(loop, asyncio.get_running_loop()).is_current()  # type: ignore[arg-type]

    assert asyncio.run(main())
    other = asyncio.new_event_loop()
    dispatcher = Dispatcher(loop, other)  # type: ignore[arg-type]
    assert not dispatcher.is_current()
    assert not dispatcher.is_orphaned()
    other.close()
    assert dispatcher.is_orphaned()


# --- orphans ------------------------------------------------------------------------------------------------


def test_those_of_a_thread_that_has_ended_run_elsewhere_and_it_is_said_once(
    loop: FakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    thread = threading.Thread(target=int, name="the-parent")
    dispatcher = Dispatcher(loop, thread)  # type: ignore[arg-type]
    thread.start()
    thread.join()
    seen: list[int] = []
    for n in range(3):
        dispatcher.put(seen.append, n)
        dispatcher.run_if_orphaned()
    assert seen == [0, 1, 2]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the-parent" in caplog.text


def test_those_of_a_living_thread_do_not(dispatcher: Dispatcher) -> None:
    dispatcher.put(len, "")
    in_thread(dispatcher.run_if_orphaned)
    assert not dispatcher.is_drained()


def test_an_orphan_that_raises_anything_does_not_reach_the_loop(
    loop: FakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(value: object) -> None:
        raise KeyboardInterrupt

    thread = threading.Thread(target=int)
    dispatcher = Dispatcher(loop, thread)  # type: ignore[arg-type]
    thread.start()
    thread.join()
    dispatcher.put(interrupted, 1)
    in_thread(lambda: dispatcher.run_if_orphaned() or True)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
