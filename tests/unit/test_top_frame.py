"""A frame of ``top``: what is written of a state, without a program or a terminal."""

from __future__ import annotations

from typing import Any

from executor._top import frame


def state(age: float, done: int, workers: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    counts = {"done": done, "failed": 1, "cancelled": 0, "retried": 0, "pending": 4, "running": 1}
    pool = {"age": age, "method": "fork", "max_workers": 2, "restarts": {}, "workers": workers or [], **counts}
    return {"version": 1, "pid": 7, "program": ["job.py", "two words"], "age": age, "pools": [pool]}


WORKER = {
    "id": 12,
    "pid": 4242,
    "state": "BUSY",
    "memory": 34_400_000,
    "tasks_done": 5,
    "age": 3700.0,
    "task": "work",
    "task_seconds": 75.5,
}


def test_the_rate_is_an_average_at_first_and_then_since_the_frame_before() -> None:
    before, now = state(10.0, 99), state(12.0, 103)
    assert frame(before, None, None)[3].endswith("; 10.0 a second")
    assert frame(now, before, None)[3].endswith("; 2.0 a second")


def test_pools_that_have_come_or_gone_since_the_frame_before() -> None:
    before = state(10.0, 99)
    before["pools"].append(before["pools"][0])
    assert frame(state(12.0, 119), before, None)[3].endswith("; 10.0 a second")
    # A younger one in the place of another.
    assert frame(state(2.0, 19), state(10.0, 99), None)[3].endswith("; 10.0 a second")


def test_columns_and_units() -> None:
    lines = frame(state(10.0, 1, [WORKER]), None, None)
    assert lines[0] == "job.py 'two words' (pid 7), monitored for 10.0 s"
    assert lines[4:] == [
        "worker   pid  state  memory  done        age         for  task",
        "    12  4242  busy    34 MB     5  1 h 1 min  1 min 15 s  work",
    ]


def test_lines_fit_the_window() -> None:
    assert max(map(len, frame(state(10.0, 1, [WORKER]), None, 20))) == 20
