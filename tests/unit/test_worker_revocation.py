"""What a parent takes back from a worker, by the words on its status page: never what has begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from executor._status import CUT, ITEM, REVOKED, RUNNING, STARTED, StatusBlock
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
    worker.words[STARTED] = 100
    yield worker
    worker.block.close()


def lease(worker: Worker, *tasks: Task) -> list[Task]:
    """As leases 1, 2, ..."""
    for number, task in enumerate(tasks, start=1):
        worker.leases[number] = Lease(number, task, None, 0.0)
        task.lease = worker, number
        worker.tasks_leased += task.size()
    return list(tasks)


def begin(worker: Worker, number: int, now: int, item: int = 0) -> None:
    worker.words[STARTED], worker.words[ITEM], worker.words[RUNNING] = now, item, number


def test_behind_the_running_one(worker: Worker) -> None:
    _, second, third = lease(worker, Call(), Call(), Call())
    begin(worker, 1, 200)
    assert worker.revoke()
    assert worker.words[REVOKED] == 2 << 32 | 3
    assert worker.reclaim() == [second, third]
    assert list(worker.leases) == [1]


def test_what_began_in_time_is_left_to_its_outcome(worker: Worker) -> None:
    _, _, third = lease(worker, Call(), Call(), Call())
    begin(worker, 1, 200)
    worker.revoke()
    begin(worker, 2, 300)
    assert worker.reclaim() == [third]
    assert list(worker.leases) == [1, 2]


def test_a_worker_that_has_gone_through_all_of_it_meanwhile_says_itself_what_it_ran(worker: Worker) -> None:
    lease(worker, Call(), Call(), Call())
    begin(worker, 1, 200)
    worker.revoke()
    begin(worker, 2, 300)  # just before it saw the range; the third it has skipped
    worker.words[RUNNING] = 0
    assert worker.reclaim() == []
    assert list(worker.leases) == [1, 2, 3]
    assert worker.revoked == (2, 3)
    worker.drop(worker.leases[2])
    worker.drop(worker.leases[3])
    worker.settle_revocation()
    assert worker.revoked is None


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
    begin(worker, 1, 200, item=2)
    (rest,) = worker.reclaim()
    assert isinstance(rest, Items)
    assert isinstance(run, Items)
    assert (run.items, rest.items) == ([1, 2, 3], [4])


def test_a_run_that_is_over_meanwhile_is_whole(worker: Worker) -> None:
    (run,) = lease(worker, Items([1, 2]))
    worker.revoke(but_first=True)
    begin(worker, 1, 200, item=1)
    worker.words[RUNNING] = 0
    assert worker.reclaim() == []
    assert run.size() == 2
