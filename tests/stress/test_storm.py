"""Short storms under every start method. The long ones run by hand: see storm.py, revocation.py and delays.py."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import pytest

from executor import WorkerLost
from tests.stress import delays
from tests.stress.journal import BEGAN, ENDED, SETTLED, Entry, forget, note, read
from tests.stress.revocation import revocation
from tests.stress.storm import Plan, Report, check_books, storm
from tests.stress.work import answer

pytestmark = pytest.mark.stress


def test_every_task_is_right_when_it_may_run_again(start_method: str, tmp_path: Path) -> None:
    report = storm(Plan(tasks=250, method=start_method, hang=90), str(tmp_path))
    assert not report.problems, str(report)


def test_exactly_the_running_tasks_are_lost_without_retries(start_method: str, tmp_path: Path) -> None:
    report = storm(Plan(tasks=250, method=start_method, retries=0, hang=90), str(tmp_path))
    assert not report.problems, str(report)


@pytest.mark.parametrize("retries", [0, 50])
def test_a_task_runs_at_most_once_unless_its_worker_died(start_method: str, retries: int, tmp_path: Path) -> None:
    plan = Plan(tasks=4_000, every=0.2, retries=retries, method=start_method, hang=90)
    report = revocation(plan, str(tmp_path))
    assert not report.problems, str(report)


@pytest.mark.parametrize("retries", [0, 50])
def test_nor_where_workers_do_not_come_to_begin(start_method: str, retries: int, tmp_path: Path) -> None:
    plan = Plan(tasks=4_000, every=0.1, retries=retries, method=start_method, hang=90, pause=0.02)
    report = revocation(plan, str(tmp_path))
    assert not report.problems, str(report)


@pytest.mark.parametrize("kind", delays.KINDS)
def test_nor_where_delays_fall_anywhere(kind: str, start_method: str, tmp_path: Path) -> None:
    for seed in range(2):
        assert not delays.problems(kind, seed, str(tmp_path), start_method)


# The books themselves: what a storm would miss, if they were kept wrongly.

LOST, KILLED = 1, 4711
"""Of two tasks: 0 runs and is right, LOST was running when the worker KILLED was killed."""


def entries(*events: tuple[str, int, int]) -> list[Entry]:
    return [Entry(*event) for event in events]


GOOD = entries((BEGAN, 0, 1), (BEGAN, LOST, KILLED), (ENDED, 0, 1), (SETTLED, 0, 9), (SETTLED, LOST, 9))


def problems(journal: list[Entry], lost: Exception | int, *, retries: int = 0, settled: int = 1) -> str:
    """What the books say of such a journal, when the future of LOST has that outcome."""
    right: Future[int] = Future()
    right.set_result(answer(0))
    other: Future[int] = Future()
    if isinstance(lost, Exception):
        other.set_exception(lost)
    else:
        other.set_result(lost)
    report = Report()
    plan = Plan(tasks=2, retries=retries)
    check_books(plan, [right, other], Counter({0: 1, LOST: settled}), journal, {KILLED}, report)
    return "\n".join(report.problems)


def lost_with(pid: int) -> WorkerLost:
    return WorkerLost(worker="worker", pid=pid, exitcode=-9, task="work")


def test_books_accept_a_task_lost_with_its_worker() -> None:
    assert problems(GOOD, lost_with(KILLED)) == ""


def test_books_accept_a_task_that_ran_again() -> None:
    again = [*GOOD[:-1], *entries((BEGAN, LOST, 2), (ENDED, LOST, 2), (SETTLED, LOST, 9))]
    assert problems(again, answer(LOST), retries=1) == ""


@pytest.mark.parametrize(
    ("journal", "outcome", "complaint"),
    [
        (GOOD, answer(0), "wrong answers: [1]"),
        (GOOD, answer(LOST), "were interrupted, yet did not fail: [1]"),
        (GOOD, ValueError("other"), "failed with something else than WorkerLost: 1"),
        (GOOD, lost_with(5), "workers lost that nobody killed: {5}"),
        ([*GOOD, Entry(BEGAN, 0, 2)], lost_with(KILLED), "ran after their future was settled: [0]"),
        ([Entry(BEGAN, 0, 2), *GOOD], lost_with(KILLED), "ran again though their worker was not killed: [0]"),
        ([Entry(BEGAN, 0, KILLED), *GOOD], lost_with(KILLED), "ran more than once without retries: [0]"),
    ],
)
def test_books_find(journal: list[Entry], outcome: Exception | int, complaint: str) -> None:
    assert complaint in problems(journal, outcome)


@pytest.mark.parametrize("settled", [0, 2])
def test_books_find_a_future_not_settled_once(settled: int) -> None:
    assert "some future was not settled exactly once" in problems(GOOD, lost_with(KILLED), settled=settled)


def test_books_find_a_failure_in_spite_of_retries() -> None:
    assert "failed though they may run again: 1" in problems(GOOD, lost_with(KILLED), retries=3)


def test_journal_keeps_what_was_noted_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    note(path, BEGAN, 7)
    note(path, ENDED, 7)
    forget(path)
    assert [(entry.event, entry.task) for entry in read(path)] == [(BEGAN, 7), (ENDED, 7)]
