"""A seeded storm: while many tasks run, a random worker is killed every so often. Then the books are checked.

By hand, long::

    python tests/stress/storm.py --tasks 10000 --every 0.05 --workers 4 --method spawn --seed 7
    python tests/stress/storm.py --retries 0

Exit code 0 when every promise held, 1 when one did not: it is printed which.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started by hand: the folder of this file is on the path, its project is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from executor import ProcessPoolExecutor, WorkerLost
from tests import leaks
from tests.stress.journal import SETTLED, Entry, by_task, forget, note, read
from tests.stress.killer import Killer
from tests.stress.work import answer, durations, work


@dataclass(frozen=True)
class Plan:
    """One storm.

    ``retries`` is how often a task may run again after its worker was lost; 0 is a storm of its own kind,
    in which exactly the tasks fail that ran when the kill came. ``pause`` is how long, in seconds, a worker is stopped
    at most, four times between two kills.
    """

    tasks: int = 10_000
    every: float = 0.05
    workers: int = 2
    method: str = "forkserver"
    retries: int = 50
    seed: int = 1
    hang: float = 600.0
    pause: float = 0.0

    def durations(self) -> list[float]:
        """How long each task sleeps."""
        return durations(self.tasks, self.seed)


@dataclass
class Report:
    """What came of it: the facts, and each promise that did not hold."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def expect(self, held: bool, otherwise: str) -> None:
        """Note the problem unless it held."""
        if not held:
            self.problems.append(otherwise)


def storm(plan: Plan, folder: str) -> Report:
    """Run one, and check everything that can be checked of it."""
    journal = str(Path(folder, "journal"))
    report = Report()
    settled: Counter[int] = Counter()

    def settle(task: int, _: Future[int]) -> None:
        settled[task] += 1
        note(journal, SETTLED, task)

    before = leaks.Snapshot.take()
    start = time.monotonic()
    with ProcessPoolExecutor(plan.workers, plan.method, task_retries=plan.retries) as pool:
        with Killer(journal, plan.every, plan.seed, plan.pause) as killer:
            futures = []
            for task, seconds in enumerate(plan.durations()):
                future = pool.submit(work, journal, task, seconds)
                future.add_done_callback(partial(settle, task))
                futures.append(future)
            _, unresolved = wait_for(futures, timeout=plan.hang)
        report.expect(not unresolved, f"{len(unresolved)} futures were never resolved")
        if unresolved:
            report.facts.update(stats=pool.stats(), kills=len(killer.killed))
            pool.kill_workers()
            return report
        check_usable(pool, report)
    report.facts.update(seconds=round(time.monotonic() - start, 1), kills=len(killer.killed))
    forget(journal)
    check_books(plan, futures, settled, read(journal), set(killer.killed), report)
    leak = leaks.leaked_since(before)
    report.expect(not leak, f"left behind:\n{leak}")
    return report


def check_usable(pool: ProcessPoolExecutor, report: Report) -> None:
    """After the storm the executor works as before it."""
    try:
        after = list(pool.map(answer, range(100)))
    except Exception as error:
        report.problems.append(f"not usable after the storm: {error!r}")
    else:
        report.expect(after == [answer(task) for task in range(100)], "wrong answers after the storm")


def check_books(
    plan: Plan,
    futures: Sequence[Future[int]],
    settled: Counter[int],
    entries: list[Entry],
    killed: set[int],
    report: Report,
) -> None:
    """Compare what the futures say with what the journal says."""
    histories = by_task(entries)
    failed = {task: future.exception() for task, future in enumerate(futures) if future.exception()}
    report.facts.update(failed=len(failed), runs=sum(len(one.began) for one in histories.values()))
    report.expect(bool(killed), "no worker was killed: this was no storm")
    report.expect(all(settled[task] == 1 for task in range(plan.tasks)), "some future was not settled exactly once")
    wrong = [task for task, future in enumerate(futures) if task not in failed and future.result() != answer(task)]
    report.expect(not wrong, f"wrong answers: {wrong[:10]}")
    late = [task for task, one in histories.items() if one.began_after_settled]
    report.expect(not late, f"ran after their future was settled: {late[:10]}")
    unexplained = [task for task, one in histories.items() if not set(one.began[:-1]) <= killed]
    report.expect(not unexplained, f"ran again though their worker was not killed: {unexplained[:10]}")
    if plan.retries:
        report.expect(not failed, f"failed though they may run again: {samples(failed)}")
    else:
        check_failures(failed, {task: len(one.began) for task, one in histories.items()}, killed, report)
        interrupted = {task for task, one in histories.items() if one.began and not one.ended}
        spared = interrupted - set(failed)
        report.expect(not spared, f"were interrupted, yet did not fail: {sorted(spared)[:10]}")


def check_failures(
    failed: dict[int, BaseException | None], runs: dict[int, int], killed: set[int], report: Report
) -> None:
    """Without retries: a kill costs at most the one task that its worker ran, and the error says so."""
    repeated = [task for task, count in runs.items() if count > 1]
    report.expect(not repeated, f"ran more than once without retries: {repeated[:10]}")
    others = {task: error for task, error in failed.items() if not isinstance(error, WorkerLost)}
    report.expect(not others, f"failed with something else than WorkerLost: {samples(others)}")
    pids = [error.pid for error in failed.values() if isinstance(error, WorkerLost)]
    report.expect(len(set(pids)) == len(pids), "one kill cost several tasks")
    report.expect(set(pids) <= killed, f"workers lost that nobody killed: {set(pids) - killed}")


def samples(errors: dict[int, BaseException | None]) -> str:
    """The number of them, and a few to look at."""
    return f"{len(errors)}, as {dict(list(errors.items())[:3])!r}"


def parse(arguments: list[str] | None = None) -> Plan:
    """The command line."""
    default = Plan()
    parser = argparse.ArgumentParser(description="Kill workers while tasks run, and check the books.")
    parser.add_argument("--tasks", type=int, default=default.tasks)
    parser.add_argument("--every", type=float, default=default.every, help="seconds between two kills")
    parser.add_argument("--workers", type=int, default=default.workers)
    parser.add_argument("--method", default=default.method, choices=("fork", "forkserver", "spawn", "loky"))
    parser.add_argument("--retries", type=int, default=default.retries)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--pause", type=float, default=default.pause, help="seconds that a worker is stopped at most")
    parser.add_argument("--hang", type=float, default=default.hang, help="seconds after which it is a hang")
    return Plan(**vars(parser.parse_args(arguments)))


def main(run: Callable[[Plan, str], Report] = storm) -> int:
    """One storm, told."""
    plan = parse()
    print(plan)
    with tempfile.TemporaryDirectory() as folder:
        report = run(plan, folder)
    print(report.facts)
    for problem in report.problems:
        print(f"BROKEN: {problem}")
    print("every promise held" if not report.problems else f"{len(report.problems)} promises broken")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
