"""Where the time went: small traces whose sums can be said by hand. Microseconds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor._trace_reader import Run, TaskEvent, WorkerLife
from executor._trace_sums import functions, histogram_edges, union, worker_time


def task(worker: int, queued: float, began: float, spent: float, *, name: str = "f", outcome: str = "ok") -> TaskEvent:
    return TaskEvent(name, "1", worker, queued, began, spent, outcome, "", 0, 0, 1)


def life(number: int, began: float, ready: float | None, ended: float) -> WorkerLife:
    return WorkerLife(number, 100 + number, began, ready, ended, "shutdown")


def run(tasks: list[TaskEvent], lives: list[WorkerLife], most: int = 2) -> Run:
    return Run({"max_workers": most}, tasks, {worker.number: worker for worker in lives})


def test_one_worker() -> None:
    # Ready at 10; idle, nothing waits, to 20; a task waits from 20 to 25; it runs to 35; nothing to 50.
    time = worker_time(run([task(1, 20, 25, 10)], [life(1, 0, 10, 50)]))
    assert (time.starting, time.busy, time.kept_waiting, time.idle) == (10, 10, 5, 25)


def test_a_worker_is_idle_while_tasks_wait_for_another() -> None:
    tasks = [task(1, 0, 10, 40), task(1, 0, 60, 10)]
    time = worker_time(run(tasks, [life(1, 0, 10, 80), life(2, 0, 20, 80)]))
    assert time.busy == 50
    assert time.kept_waiting == 10 + (60 - 20)  # the first from 50 to 60, the second from 20 to 60
    assert time.idle == (80 - 70) + (80 - 60)
    assert time.starting == 10 + 20


def test_a_successor_that_waits_for_its_place_costs_nothing() -> None:
    time = worker_time(run([], [life(1, 0, 10, 100), life(2, 50, 110, 200)], most=1))
    assert time.starting == 10 + 10  # the second counts from 100 to 110 only
    assert time.idle == 90 + 90


def test_a_worker_that_never_was_ready() -> None:
    time = worker_time(run([], [life(1, 0, None, 30)]))
    assert (time.starting, time.busy, time.kept_waiting, time.idle) == (30, 0, 0, 0)


def test_nothing() -> None:
    time = worker_time(run([], []))
    assert (time.starting, time.busy, time.kept_waiting, time.idle) == (0, 0, 0, 0)
    assert histogram_edges(run([], [])) == []
    assert functions(run([], []), []) == []


def test_functions_and_their_histograms() -> None:
    quick = [task(1, 0, 10 * i, 5, name="quick") for i in range(1, 20)]
    slow = [task(1, 0, 1000, 900, name="slow"), task(1, 1000, 2000, 1100, name="slow", outcome="error")]
    never = [task(0, 0, 50, 0, name="quick", outcome="cancelled")]
    whole = run([*quick, *slow, *never], [life(1, 0, 0, 4000)])
    edges = histogram_edges(whole)
    assert edges == pytest.approx([10 ** (i / 3) for i in range(3, 11)], rel=1e-3)
    first, second = functions(whole, edges)
    assert (first.name, first.runs, first.failed, first.total, first.most) == ("slow", 2, 1, 2000, 1100)
    assert first.waited == (1000 + 1000) / 2
    assert (second.name, second.runs, second.failed, second.median, second.high) == ("quick", 19, 0, 5, 5)
    assert second.counts == [19, 0, 0, 0, 0, 0, 0, 0]
    assert first.counts == [0, 0, 0, 0, 0, 0, 1, 1]


intervals = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (min(pair), max(pair))))


@given(intervals)
def test_a_union_covers_the_same_and_does_not_touch(given_: list[tuple[int, int]]) -> None:
    joined = union([(float(began), float(ended)) for began, ended in given_])
    assert {n for began, ended in given_ for n in range(began, ended)} == {
        n for began, ended in joined for n in range(int(began), int(ended))
    }
    assert all(before[1] < after[0] for before, after in pairwise(joined))
