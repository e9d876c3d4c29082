"""The backlog that knows slots, keys and resources, alone: no worker, no process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from executor._backlog import Backlog
from executor._options import Options
from executor._placement import PlacedBacklog
from executor._resources import Tokens, parse_resources


class FakeTask:
    splits = False

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.options = Options(**options)
        self.open = True

    def is_open(self) -> bool:
        return self.open

    def size(self) -> int:
        return 1


class Placed:
    """A placed backlog with what it needs."""

    def __init__(self, workers: int = 2, **totals: int) -> None:
        self.settings = SimpleNamespace(max_workers=workers)
        self.freed = 0
        self.failed: list[Any] = []
        self.tokens = Tokens(parse_resources(totals), self.count_freed)
        self.backlog = PlacedBacklog(Backlog(), self.settings, self.tokens, self.failed.append)  # type: ignore[arg-type]

    def count_freed(self) -> None:
        self.freed += 1

    def add(self, name: str, **options: Any) -> FakeTask:
        task = FakeTask(name, **options)
        self.backlog.add(task)  # type: ignore[arg-type]
        return task

    def head(self, slot: int) -> str | None:
        task: Any = self.backlog.seen_by(SimpleNamespace(slot=slot)).head()  # type: ignore[arg-type]
        return None if task is None else task.name

    def take(self, slot: int) -> str | None:
        view = self.backlog.seen_by(SimpleNamespace(slot=slot))  # type: ignore[arg-type]
        task: Any = view.head()
        if task is None:
            return None
        assert view.take() is task
        return str(task.name)


def test_a_task_with_a_slot_is_for_its_worker_alone() -> None:
    placed = Placed()
    placed.add("for 1", slot=1)
    assert placed.backlog
    assert placed.head(0) is None
    assert placed.take(1) == "for 1"
    assert not placed.backlog


def test_tasks_with_equal_keys_have_one_slot_and_keys_are_spread() -> None:
    placed = Placed(3)
    slots = [placed.backlog.slot_of(FakeTask("", key=key)) for key in "abcdef"]  # type: ignore[arg-type]
    assert slots == [0, 1, 2, 0, 1, 2]
    again = [placed.backlog.slot_of(FakeTask("", key=key)) for key in "abcdef"]  # type: ignore[arg-type]
    assert again == slots


def test_a_key_that_was_not_used_for_long_may_get_another_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor._placement._MOST_KEYS", 2)
    placed = Placed(2)
    slots = [placed.backlog.slot_of(FakeTask("", key=key)) for key in (1, 2, 3, 1)]  # type: ignore[arg-type]
    assert slots == [0, 1, 0, 1]
    assert len(placed.backlog._keys) == 2


def test_a_task_whose_tokens_are_not_free_holds_up_no_other() -> None:
    placed = Placed(gpu=2)
    for n in range(3):
        placed.add(f"gpu {n}", resources={"gpu": 1})
    placed.add("two gpus", resources={"gpu": 2})
    placed.add("other")
    held = placed.tokens.take((("gpu", 2),))
    assert placed.take(0) == "other"
    assert placed.take(0) is None
    held.release()
    held.release()  # once only
    assert placed.freed == 1
    assert [placed.take(0), placed.take(1)] == ["gpu 0", "gpu 1"]


def test_equals_take_turns_and_priority_goes_first() -> None:
    placed = Placed()
    for n in range(3):
        placed.add(f"placed {n}", slot=0)
        placed.add(f"other {n}")
    placed.add("urgent", priority=1)
    placed.add("urgent here", priority=2, slot=0)
    placed.add("late", priority=-1, slot=0)
    assert [placed.take(0) for _ in range(9)] == [
        "urgent here",
        "urgent",
        "placed 0",
        "other 0",
        "placed 1",
        "other 1",
        "placed 2",
        "other 2",
        "late",
    ]


def test_what_is_given_back_goes_first_again() -> None:
    placed = Placed()
    for n in range(3):
        placed.add(str(n), slot=0)
    view = placed.backlog.seen_by(SimpleNamespace(slot=0))  # type: ignore[arg-type]
    taken = [(view.head(), view.take())[1] for _ in range(2)]
    placed.backlog.give_back(taken)
    assert [placed.take(0) for _ in range(3)] == ["0", "1", "2"]


def test_which_workers_are_wanted() -> None:
    placed = Placed(3, gpu=1)
    assert placed.backlog.wanted_slots() == set()
    placed.add("a", slot=2)
    placed.add("b", slot=1, resources={"gpu": 1})
    assert placed.backlog.wanted_slots() == {1, 2}
    held = placed.tokens.take((("gpu", 1),))
    assert placed.backlog.wanted_slots() == {2}
    assert placed.backlog.count() == 0
    for n in range(3):
        placed.add(str(n), resources={"gpu": 1})
        placed.add(str(n))
    assert placed.backlog.count() == 3
    held.release()
    assert placed.backlog.count() == 4, "one of those with tokens can begin"


def test_cancelled_ones_are_skipped() -> None:
    placed = Placed()
    first, _ = placed.add("first", slot=0), placed.add("second", slot=0)
    first.open = False
    assert placed.take(0) == "second"
    assert placed.take(0) is None


def test_fewer_slots() -> None:
    placed = Placed(3)
    for n in range(3):
        placed.add(f"slot {n}", slot=n)
        placed.add(f"key {n}", key=n)
    late = FakeTask("given back", slot=2)
    placed.settings.max_workers = 1
    placed.backlog.resized()
    placed.backlog.give_back([late])  # type: ignore[list-item]
    assert [task.name for task in placed.failed] == ["slot 1", "slot 2", "given back"]
    assert sorted(filter(None, (placed.take(0) for _ in range(9)))) == ["key 0", "key 1", "key 2", "slot 0"]


def test_drain_gives_all() -> None:
    placed = Placed(gpu=1)
    placed.add("a")
    placed.add("b", slot=1)
    placed.add("c", resources={"gpu": 1})
    assert len(list(placed.backlog)) == 3
    assert sorted(task.name for task in placed.backlog.drain()) == ["a", "b", "c"]  # type: ignore[attr-defined]
    assert not placed.backlog


@pytest.mark.parametrize(
    ("resources", "error"),
    [
        ({"gpu": 0}, ValueError),
        ({"gpu": -1}, ValueError),
        ({"gpu": 0.5}, TypeError),
        ({"gpu": True}, TypeError),
        ({1: 1}, TypeError),
    ],
)
def test_what_is_no_number_of_resources(resources: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_resources(resources)


def test_more_than_there_are() -> None:
    tokens = Tokens(parse_resources({"gpu": 2, "licence": 1}), lambda: None)
    tokens.check((("gpu", 2), ("licence", 1)))
    with pytest.raises(ValueError, match="3 of 'gpu' are more than the 2 there are"):
        tokens.check((("gpu", 3),))
    with pytest.raises(ValueError, match="no resource 'cpu'; it was made with: gpu, licence"):
        tokens.check((("cpu", 1),))
