"""What a parent takes back from a worker, by the words on its status page: never what has begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from executor._status import CUT, ITEM, OVER, REVOKED, RUNNING, StatusBlock
from executor._task import Run, Task
from executor._worker import Lease, Worker


class Call(Task):
    lease: Any = None


class Items(Run):
    lease: Any = None

    def behind(self, item: int, rest: list[Any]) -> Task:
        return Items(rest)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(1, 0.0)
    worker.block = StatusBlock()
    yield worker
    worker.block.close()


def lease(worker: Worker, *tasks: Task) -> list[Task]:
    """As leases 1, 2, ..."""
    for number, task in enumerate(tasks, start=1):
        worker.leases[number] = Lease(number, task, None, 0.0)
        task.lease = worker, number
        worker.tasks_leased += task.size()
    return list(tasks)


def begin(worker: Worker, number: int, item: int = 0) -> None:
    worker.words[ITEM], worker.words[RUNNING] = item, number


def end(worker: Worker) -> None:
    worker.words[RUNNING] |= OVER


def test_behind_the_running_one(worker: Worker) -> None:
    _, second, third = lease(worker, Call(), Call(), Call())
    begin(worker, 1)
    assert worker.revoke()
    assert worker.words[REVOKED] == 2 << 32 | 3
    assert worker.reclaim() == [second, third]
    assert list(worker.leases) == [1]


def test_what_began_in_time_is_left_to_its_outcome(worker: Worker) -> None:
    _, _, third = lease(worker, Call(), Call(), Call())
    begin(worker, 1)
    worker.revoke()
    begin(worker, 2)
    assert worker.reclaim() == [third]
    assert list(worker.leases) == [1, 2]


def test_a_worker_that_has_gone_through_all_of_it_meanwhile_says_itself_what_it_ran(worker: Worker) -> None:
    lease(worker, Call(), Call(), Call())
    begin(worker, 1)
    worker.revoke()
    begin(worker, 2)  # just before it saw the range
    begin(worker, 3)  # it has skipped that
    end(worker)
    assert worker.reclaim() == []
    assert list(worker.leases) == [1, 2, 3]
    assert worker.revoked == (2, 3)
    worker.drop(worker.leases[2])
    worker.drop(worker.leases[3])
    worker.settle_revocation()
    assert worker.revoked is None


def test_what_is_over_and_not_told_yet_is_not_taken_back(worker: Worker) -> None:
    _, _, third = lease(worker, Call(), Call(), Call())
    begin(worker, 2)
    end(worker)
    assert worker.revoke()
    assert worker.reclaim() == [third]
    assert list(worker.leases) == [1, 2]


def test_what_is_next_may_begin_where_none_is_running(worker: Worker) -> None:
    lease(worker, Call(), Call(), Call())
    begin(worker, 1)
    end(worker)
    assert worker.revoke(but_first=True)
    assert worker.words[REVOKED] == 3 << 32 | 3
    worker.reclaim()
    assert list(worker.leases) == [1, 2]


def test_begun_is_what_was_begun(worker: Worker) -> None:
    first, second = lease(worker, Call(), Call())
    assert not worker.has_begun(first)
    begin(worker, 1)
    assert worker.has_begun(first)
    assert not worker.has_begun(second)
    end(worker)
    assert worker.running() is None
    assert worker.has_begun(first)
    assert not worker.has_begun(second)


def test_one_that_has_begun_nothing_may_still_begin_the_first(worker: Worker) -> None:
    first, second, third = lease(worker, Call(), Call(), Call())
    assert worker.revoke(but_first=True)
    assert worker.words[REVOKED] == 2 << 32 | 3
    assert worker.reclaim() == [second, third]
    assert first.lease == (worker, 1)


def test_unless_that_is_wanted_as_well(worker: Worker) -> None:
    first, second, third = lease(worker, Call(), Call(), Call())
    worker.revoke(but_first=True)
    assert not worker.revoke()  # the moment for the others has not passed
    assert worker.reclaim() == [second, third]
    assert worker.revoke()
    assert worker.words[REVOKED] == 1 << 32 | 3
    assert worker.reclaim() == [first]
    worker.reclaimed.clear()  # it has skipped all three
    worker.settle_revocation()
    assert worker.revoked is None


def test_of_a_run_that_has_not_begun_all_but_its_first_item(worker: Worker) -> None:
    run, second = lease(worker, Items([1, 2, 3]), Call())
    assert worker.revoke(but_first=True)
    assert worker.words[CUT] == 1 << 32 | 1
    rest, last = worker.reclaim()
    assert isinstance(rest, Items)
    assert (rest.items, last) == ([2, 3], second)
    assert isinstance(run, Items)
    assert run.items == [1]
    assert worker.tasks_leased == 1


def test_of_a_run_that_began_meanwhile_what_is_behind_its_running_item(worker: Worker) -> None:
    (run,) = lease(worker, Items([1, 2, 3, 4]))
    worker.revoke(but_first=True)
    begin(worker, 1, item=2)
    (rest,) = worker.reclaim()
    assert isinstance(rest, Items)
    assert isinstance(run, Items)
    assert (run.items, rest.items) == ([1, 2, 3], [4])


def test_a_run_that_is_over_meanwhile_is_whole(worker: Worker) -> None:
    (run,) = lease(worker, Items([1, 2]))
    worker.revoke(but_first=True)
    begin(worker, 1, item=1)
    end(worker)
    assert worker.reclaim() == []
    assert run.size() == 2


def test_a_cut_stands_until_the_worker_has_left_that_run(worker: Worker) -> None:
    """Or it would run what was cut off, which may have been given to it again."""
    lease(worker, Items([0, 1, 2]))
    assert worker.revoke(but_first=True)
    (rest,) = worker.reclaim()
    begin(worker, 1)
    worker.drop(worker.leases[1])  # the outcome of its item has come
    worker.leases[2] = Lease(2, rest, None, 0.0)
    assert not worker.revoke(but_first=True)
    assert worker.words[CUT] == 1 << 32 | 1
    end(worker)
    assert worker.revoke(but_first=True)
    assert worker.words[CUT] == 2 << 32 | 1


def test_what_there_is_behind(worker: Worker) -> None:
    lease(worker, Items([0, 1]), Call())
    first, second = worker.leases[1], worker.leases[2]
    assert worker.holds_behind(first, 0)
    assert worker.holds_behind(first, 1)
    assert not worker.holds_behind(second, 0)
    worker.drop(second)
    assert worker.holds_behind(first, 0)
    assert not worker.holds_behind(first, 1)
