"""The queue of pending tasks: priority, order, what comes back."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor._backlog import Backlog


class FakeTask:
    """As much of a task as the backlog looks at."""

    def __init__(self, name: str = "", priority: float = 0, calls: int = 1) -> None:
        self.name = name
        self.options = SimpleNamespace(priority=priority)
        self.splits = calls > 1
        self.calls = calls
        self.open = True

    def is_open(self) -> bool:
        return self.open

    def size(self) -> int:
        return self.calls

    def portion(self, most: int) -> FakeTask:
        part = FakeTask(self.name, calls=min(most, self.calls))
        self.calls -= part.calls
        self.open = self.calls > 0
        return part

    def joined(self, queue: deque[FakeTask], most: int) -> FakeTask:
        together = FakeTask(self.name)
        while queue and len(together.name) < most:
            together.name += queue.popleft().name
        return together

    def __repr__(self) -> str:
        return self.name


def backlog_of(*tasks: Any) -> Backlog:
    backlog = Backlog()
    for task in tasks:
        backlog.add(task)
    return backlog


def taken(backlog: Backlog) -> list[Any]:
    """All of it, in the order in which it would run."""
    order = []
    while (task := backlog.head()) is not None:
        assert backlog.take() is task
        order.append(task)
    return order


def test_an_empty_one() -> None:
    backlog = Backlog()
    assert not backlog
    assert backlog.head() is None
    assert backlog.count() == 0
    assert list(backlog) == backlog.drain() == []
    with pytest.raises(IndexError):
        backlog.take()


def test_first_come_first_served() -> None:
    tasks = [FakeTask(str(n)) for n in range(5)]
    backlog = backlog_of(*tasks)
    assert backlog
    assert backlog.count() == 5
    assert taken(backlog) == tasks
    assert not backlog


def test_higher_priority_first_in_the_order_of_submission_within_one() -> None:
    tasks = {
        name: FakeTask(name, priority)
        for name, priority in [("a", 0), ("b", 5), ("c", -1), ("d", 0), ("e", 5), ("f", 2.5), ("g", -1)]
    }
    backlog = backlog_of(*tasks.values())
    assert list(backlog) == [tasks[name] for name in "befadcg"]
    assert taken(backlog) == [tasks[name] for name in "befadcg"]


def test_what_is_given_back_goes_before_all_others_of_its_priority() -> None:
    first, second, third, urgent = FakeTask("1"), FakeTask("2"), FakeTask("3"), FakeTask("u", 1)
    backlog = backlog_of(third)
    backlog.give_back([first, second])
    backlog.add(urgent)
    assert taken(backlog) == [urgent, first, second, third]


def test_a_priority_that_was_not_there_may_be_given_back() -> None:
    low, urgent = FakeTask("low"), FakeTask("u", 7)
    backlog = backlog_of(low)
    backlog.give_back([urgent])
    assert taken(backlog) == [urgent, low]


def test_a_generator_may_be_given_back() -> None:
    tasks = [FakeTask(str(n)) for n in range(3)]
    backlog = Backlog()
    backlog.give_back(task for task in tasks)  # type: ignore[misc]
    assert taken(backlog) == tasks


def test_what_was_cancelled_is_skipped() -> None:
    tasks = [FakeTask(str(n), priority=n % 2) for n in range(6)]
    backlog = backlog_of(*tasks)
    for n in (0, 1, 5):
        tasks[n].open = False
    assert backlog
    assert taken(backlog) == [tasks[3], tasks[2], tasks[4]]


def test_with_nothing_but_cancelled_tasks_it_is_empty() -> None:
    tasks = [FakeTask(), FakeTask(priority=3)]
    backlog = backlog_of(*tasks)
    for task in tasks:
        task.open = False
    assert not backlog
    assert backlog.head() is None


def test_tasks_of_several_calls_count_as_so_many() -> None:
    wide, run = FakeTask("wide", calls=100), FakeTask("run", calls=7)
    backlog = backlog_of(FakeTask(), wide)
    backlog.give_back([run])
    assert backlog.count() == 108
    wide.calls = 40  # a part was leased
    assert backlog.count() == 48


def test_a_task_of_several_calls_is_taken_in_portions() -> None:
    wide = FakeTask("wide", calls=10)
    backlog = backlog_of(wide, FakeTask("next"))
    assert [backlog.take(most).size() for most in (4, 1, 100)] == [4, 1, 5]  # type: ignore[attr-defined]
    assert [repr(task) for task in taken(backlog)] == ["next"]


def test_calls_may_be_taken_together() -> None:
    backlog = backlog_of(*(FakeTask(name) for name in "abcd"))
    assert repr(backlog.take(3)) == "abc"
    assert repr(backlog.take(3)) == "d"
    assert not backlog


def test_what_has_been_leased_to_its_end_counts_no_more() -> None:
    wide = FakeTask("wide", calls=100)
    backlog = backlog_of(wide, FakeTask())
    wide.calls, wide.open = 0, False
    assert backlog.head() is not wide
    assert backlog.count() == 1


def test_drain_gives_what_is_open_and_leaves_nothing() -> None:
    tasks = [FakeTask(str(n), priority=n) for n in range(4)]
    backlog = backlog_of(*tasks)
    tasks[2].open = False
    assert backlog.drain() == [tasks[3], tasks[1], tasks[0]]
    assert not backlog
    assert backlog.count() == 0
    backlog.add(tasks[0])  # type: ignore[arg-type]
    assert taken(backlog) == [tasks[0]]


@given(st.lists(st.tuples(st.sampled_from("atgc"), st.integers(-2, 2)), max_size=60))
def test_it_is_a_stable_sort_by_priority(actions: list[tuple[str, int]]) -> None:
    """Against a list that is sorted anew for each look."""
    backlog = Backlog()
    model: list[tuple[int, int, FakeTask]] = []
    back, forth = 0, 0
    for number, (action, priority) in enumerate(actions):
        task = FakeTask(str(number), priority)
        model.sort(key=lambda entry: entry[:2])
        if action == "a":
            forth += 1
            backlog.add(task)  # type: ignore[arg-type]
            model.append((-priority, forth, task))
        elif action == "g":
            back -= 1
            backlog.give_back([task])  # type: ignore[list-item]
            model.append((-priority, back, task))
        elif action == "t" and model:
            assert backlog.head() is model[0][2]
            assert backlog.take() is model.pop(0)[2]
        elif action == "c" and model:
            model.pop(len(model) // 2)[2].open = False
    model.sort(key=lambda entry: entry[:2])
    assert taken(backlog) == [task for _, _, task in model]
