"""Traces: what is recorded of tasks and workers, and what becomes of the file."""

from __future__ import annotations

import importlib
import itertools
import json
import operator
import os
import resource
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from executor import ProcessPoolExecutor, WorkerManager, wait
from tests import deaths, tasks
from tests.support import HANG, Gate, eventually, program


class Trace:
    """The events of a trace file."""

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = json.loads(path.read_text())

    def of(self, category: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("cat") == category]

    def tasks(self, name: str = "") -> list[dict[str, Any]]:
        return [event for event in self.of("task") if name in event["name"]]

    def outcomes(self) -> Counter[str]:
        return Counter(event["args"]["outcome"] for event in self.tasks())

    def rows(self) -> dict[int, str]:
        return {event["tid"]: event["args"]["name"] for event in self.events if event["name"] == "thread_name"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


# --- tasks --------------------------------------------------------------------------------------------------------


def test_each_task_and_each_item_is_recorded_once(start_method: str, path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, trace=path) as pool:
        futures = [pool.submit(operator.neg, i) for i in range(300)]
        assert list(pool.map(tasks.square, range(500))) == [i * i for i in range(500)]
        assert list(pool.map(tasks.add, range(50), range(50), chunksize=7)) == [2 * i for i in range(50)]
        assert wait(futures, HANG).not_done == set()
    trace = Trace(path)
    assert trace.outcomes() == {"ok": 850}
    assert len(trace.tasks("neg")) == 300
    assert len(trace.tasks("square")) == 500
    assert len(trace.tasks("add")) == 50
    assert len({event["args"]["task"] for event in trace.tasks()}) == 850
    for event in trace.tasks():
        assert event["ph"] == "X"
        assert event["args"]["queued"] <= event["ts"]
        assert event["dur"] > 0
        assert event["args"]["bytes_in"] > 0
        assert event["args"]["bytes_out"] > 0


def test_tasks_of_one_worker_do_not_overlap_and_lie_within_its_life(path: Path) -> None:
    with ProcessPoolExecutor(2, trace=path) as pool:
        list(pool.map(tasks.square, range(1000)))
        wait([pool.submit(tasks.pause, 0.001) for _ in range(20)])
        wait(pool.broadcast(tasks.nothing))  # or a busy machine may start one of them too late for the others
    trace = Trace(path)
    rows = trace.rows()
    lives = {event["tid"]: event for event in trace.of("worker") if event["name"] == "start-up"}
    for tid, life in lives.items():
        assert str(life["args"]["pid"]) in rows[tid]
        own = sorted((event["ts"], event["dur"]) for event in trace.tasks() if event["tid"] == tid)
        assert own, f"{rows[tid]} did nothing"
        # A record may lag what the parent saw: rounded to nanoseconds, no more.
        for (first, spent), (second, _) in itertools.pairwise(own):
            assert first + spent <= second + 0.002
        assert life["ts"] + life["dur"] <= life["args"]["ready"] + 0.002
        assert own[-1][0] + own[-1][1] <= life["args"]["ended"]


def test_every_kind_of_end(start_method: str, gate: Gate, path: Path) -> None:
    # The import would be a task's own time: on a busy machine as long as its limit.
    imports = importlib.import_module, ("tests.tasks",)
    with ProcessPoolExecutor(1, start_method, *imports, trace=path) as pool:
        futures = [
            pool.submit(tasks.raise_value_error, "no good"),
            pool.submit(tasks.exit_with, 7),
            pool.options(retries=1).submit(deaths.die, "SIGKILL"),
            pool.options(timeout=0.2).submit(tasks.pause, 600),
            pool.submit(tasks.same, threading.Lock()),
        ]
        assert wait(futures, HANG).not_done == set()
        running = pool.options(cancel_running=True).submit(gate.stop)
        gate.wait_arrivals()
        waiting = pool.submit(tasks.nothing)
        assert waiting.cancel()
        assert running.cancel()
        results = list(pool.options(timeout=0.4).map(tasks.pause, [0, 600], return_exceptions=True))
        assert results[0] == 0
    trace = Trace(path)
    kinds = {(event["name"].rpartition(".")[2], event["args"]["outcome"]) for event in trace.tasks()}
    assert kinds == {
        ("raise_value_error", "error"),
        ("exit_with", "lost"),
        ("die", "retried"),
        ("die", "lost"),
        ("pause", "timeout"),
        ("pause", "ok"),
        ("same", "error"),
        ("nothing", "cancelled"),
        ("stop", "cancelled"),
    }
    assert len(trace.tasks("pause")) == 3
    [raised] = trace.tasks("raise_value_error")
    assert raised["args"]["error"] == "ValueError: no good"
    [lost] = trace.tasks("exit_with")
    assert "exit code 7" in lost["args"]["error"]
    first, second = trace.tasks("die")
    assert "attempt" not in first["args"]
    assert second["args"]["attempt"] == 2
    assert first["tid"] != second["tid"]
    # What never ran is on no worker's row, and has no length.
    for name in ("nothing", "same"):
        [event] = trace.tasks(name)
        assert (event["tid"], event["ph"]) == (0, "i")
    [stopped] = trace.tasks("stop")
    assert stopped["tid"] > 0


def test_items_of_a_run_that_a_worker_dies_in(start_method: str, path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, trace=path, task_retries=1) as pool:
        results = list(pool.map(tasks.exit_on, [3] * 8, range(8), chunksize=8, return_exceptions=True))
        assert [type(result).__name__ for result in results] == ["int"] * 3 + ["WorkerLost"] + ["int"] * 4
    trace = Trace(path)
    assert trace.outcomes() == {"ok": 7, "retried": 1, "lost": 1}
    items = {event["args"]["task"].partition(".")[2]: event for event in trace.tasks()}
    assert set(items) == {str(i) for i in range(8)}
    assert items["3"]["args"]["outcome"] == "lost"
    assert items["3"]["args"]["attempt"] == 2


def test_items_that_cannot_be_pickled(path: Path) -> None:
    with ProcessPoolExecutor(1, trace=path) as pool:
        assert list(pool.map(tasks.square, range(100))) == [i * i for i in range(100)]  # so that runs are made
        results = list(pool.map(tasks.same, [1, threading.Lock(), 3], return_exceptions=True))
        assert (results[0], type(results[1]), results[2]) == (1, TypeError, 3)
    assert Trace(path).outcomes() == {"ok": 102, "error": 1}


def test_tasks_that_wait_for_others(path: Path) -> None:
    with ProcessPoolExecutor(1, trace=path) as pool:
        first = pool.submit(tasks.square, 3)
        second = pool.submit(tasks.add, first, 1)
        assert second.result(HANG) == 10
        bad = pool.submit(tasks.raise_value_error, "no")
        never = pool.submit(tasks.multiply, bad, 2)
        assert never.exception(HANG) is not None
    trace = Trace(path)
    [one], [two] = trace.tasks("square"), trace.tasks("add")
    assert two["args"]["queued"] >= one["ts"] + one["dur"]
    [event] = trace.tasks("multiply")
    assert (event["tid"], event["args"]["outcome"]) == (0, "error")
    assert event["args"]["error"].startswith("DependencyFailed: ")
    assert len(trace.tasks()) == 4


def test_large_data_counts_where_it_lies_beside_the_channel(path: Path) -> None:
    with ProcessPoolExecutor(1, trace=path) as pool:
        assert pool.submit(len, bytes(1_000_000)).result(HANG) == 1_000_000
        assert pool.submit(bytes, 2_000_000).result(HANG) == bytes(2_000_000)
    sizes = {event["name"]: event["args"] for event in Trace(path).tasks()}
    assert sizes["len"]["bytes_in"] >= 1_000_000
    assert sizes["len"]["bytes_out"] < 100
    assert sizes["bytes"]["bytes_out"] >= 2_000_000


def test_callbacks_are_recorded_with_their_tasks(path: Path) -> None:
    came: list[Any] = []
    with ProcessPoolExecutor(1, trace=path) as pool:
        future = pool.options(callback=came.append, name="called back").submit(operator.neg, 1)
        future.add_done_callback(came.append)
        assert list(pool.options(callback=came.append).map(tasks.square, range(3))) == [0, 1, 4]
    assert len(came) == 5
    trace = Trace(path)
    spans = [event for event in trace.of("parent") if event["name"] == "callback"]
    numbers = Counter(event["args"]["task"] for event in spans)
    [task] = trace.tasks("called back")
    assert numbers.pop(task["args"]["task"]) == 2
    assert numbers == dict.fromkeys((event["args"]["task"] for event in trace.tasks("square")), 1)
    assert all(trace.rows()[event["tid"]].startswith("parent: ") for event in spans)


# --- workers ------------------------------------------------------------------------------------------------------


def test_workers_and_why_they_ended(start_method: str, path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method, max_tasks_per_child=2, trace=path) as pool:
        for i in range(4):
            assert pool.submit(operator.neg, i).result(HANG) == -i
        assert pool.submit(tasks.exit_with, 1).exception(HANG) is not None
        restarts = dict(pool.stats().restarts)
    lives = [event["args"]["reason"] for event in Trace(path).of("worker") if event["name"] == "start-up"]
    assert Counter(lives)["died"] == restarts["died"] == 1
    assert Counter(lives)["max_tasks_per_child"] >= 2
    ends = Counter(event["name"] for event in Trace(path).of("worker"))
    assert ends["ended: died"] == 1
    assert "alive" not in lives


def test_counters(gate: Gate, path: Path) -> None:
    with ProcessPoolExecutor(1, trace=path) as pool:
        first = pool.submit(gate.stop)
        gate.wait_arrivals()
        rest = [pool.submit(tasks.nothing) for _ in range(10)]
        # The next look at the memory is a timer of the loop: wait until one has been written.
        eventually(lambda: "memory" in path.read_text())
        gate.open()
        assert wait([first, *rest], HANG).not_done == set()
    trace = Trace(path)
    assert max(event["args"]["tasks"] for event in trace.of("queue")) >= 10
    assert trace.of("queue")[-1]["args"]["tasks"] == 0
    assert all(event["args"]["bytes"] > 1_000_000 for event in trace.of("memory"))


# --- a block ------------------------------------------------------------------------------------------------------


def test_a_block_is_traced_and_nothing_else(path: Path) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        with pool.trace(path):
            assert pool.submit(operator.pos, 2).result(HANG) == 2
        trace = Trace(path)
        assert pool.submit(operator.neg, 3).result(HANG) == -3
    assert [event["name"] for event in trace.tasks()] == ["_operator.pos"]
    [life] = trace.of("worker")
    assert life["args"]["reason"] == "alive"
    assert Trace(path).events == trace.events


def test_what_was_pending_when_the_block_began_is_traced(gate: Gate, path: Path) -> None:
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(gate.stop)
        gate.wait_arrivals()
        waiting = pool.submit(tasks.add, 1, 2)
        results = pool.map(tasks.square, range(20))
        with pool.trace(path):
            gate.open()
            assert waiting.result(HANG) == 3
            assert running.result(HANG) is None
            assert sum(results) == 2470
    trace = Trace(path)
    assert trace.outcomes() == {"ok": 22}
    assert [event["ts"] for event in trace.tasks("stop")] == [0]
    assert min(event["ts"] for event in trace.events if "ts" in event) == 0
    assert min(event["args"]["queued"] for event in trace.tasks()) == 0


def test_one_trace_after_the_other(gate: Gate, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    with ProcessPoolExecutor(1) as pool:
        with pool.trace(other):
            running = pool.submit(gate.stop)
            gate.wait_arrivals()
            waiting = pool.submit(tasks.add, 1, 2)
        with pool.trace(path):
            gate.open()
            assert waiting.result(HANG) == 3
            assert running.result(HANG) is None
    assert Trace(other).outcomes() == {}
    assert Trace(path).outcomes() == {"ok": 2}
    assert [event["args"]["queued"] for event in Trace(path).tasks()] == [0, 0]


def test_one_trace_at_a_time(path: Path, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, trace=path) as pool:
        with pytest.raises(RuntimeError, match=r"recorded already, to .*run\.json"):
            pool.trace(tmp_path / "other.json")
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert Trace(path).outcomes() == {"ok": 1}
    assert not (tmp_path / "other.json").exists()


def test_an_executor_that_borrows_workers_ends_its_trace_with_itself(path: Path) -> None:
    with WorkerManager(1) as manager:
        with ProcessPoolExecutor(manager=manager, trace=path) as pool:
            assert pool.submit(operator.neg, 1).result(HANG) == -1
        assert Trace(path).outcomes() == {"ok": 1}
        with ProcessPoolExecutor(manager=manager) as pool:
            assert pool.submit(operator.neg, 2).result(HANG) == -2
    assert Trace(path).outcomes() == {"ok": 1}


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["no/such/folder/run.json", "."])
def test_a_path_that_cannot_be_written_is_an_error_at_once(where: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"run\.json|Is a directory"):
        ProcessPoolExecutor(1, trace=tmp_path / where)


def test_an_executor_that_did_nothing_leaves_a_whole_file(path: Path) -> None:
    with ProcessPoolExecutor(1, trace=path):
        pass
    assert Trace(path).outcomes() == {}


def test_shutdown_without_waiting_writes_the_file_too(path: Path) -> None:
    pool = ProcessPoolExecutor(1, trace=path)
    future = pool.submit(operator.neg, 1)
    pool.shutdown(wait=False)
    assert future.result(HANG) == -1
    eventually(lambda: path.read_text().endswith("]\n"))
    assert Trace(path).outcomes() == {"ok": 1}


def test_a_forked_child_does_not_touch_the_file(path: Path) -> None:
    from tests.support import in_forked_child

    with ProcessPoolExecutor(1, trace=path) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        assert in_forked_child(pool.shutdown) == "returned None"
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert Trace(path).outcomes() == {"ok": 2}


def test_a_disk_that_is_full_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="No space left"):
        ProcessPoolExecutor(1, trace="/dev/full")


def test_a_disk_that_becomes_full_costs_the_trace_and_no_task(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ProcessPoolExecutor(1, trace=path) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10_000, before[1]))
        try:
            assert list(pool.map(operator.neg, range(1000))) == [-i for i in range(1000)]
            pool.shutdown()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    [record] = caplog.records
    assert str(path) in record.getMessage()
    assert "cannot be written any further" in record.getMessage()


def test_a_program_that_is_killed_leaves_what_was_recorded(tmp_path: Path, path: Path) -> None:
    with program("traces.py", str(path), directory=tmp_path) as running:
        running.wait_line("done")
        eventually(lambda: path.read_text().count('"task"') >= 10)
        running.signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        running.wait_family_gone()
    text = path.read_text()
    assert not text.endswith("]\n")
    events = json.loads(text + "]")
    assert sum(event.get("cat") == "task" for event in events) >= 10


@pytest.mark.parametrize("how", ["end", "ctrl-c"])
def test_a_program_that_ends_leaves_a_whole_file(how: str, tmp_path: Path, path: Path) -> None:
    with program("traces.py", str(path), how, directory=tmp_path) as running:
        running.wait_line("done")
        if how == "ctrl-c":
            running.signal(signal.SIGINT)
        running.wait()
    assert Trace(path).outcomes() == ({"ok": 11} if how == "end" else {"ok": 10, "cancelled": 1})


def test_a_trace_that_has_ended_holds_no_descriptor(path: Path) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        descriptors = set(os.listdir("/proc/self/fd"))
        with pool.trace(path):
            pass
        assert set(os.listdir("/proc/self/fd")) == descriptors
