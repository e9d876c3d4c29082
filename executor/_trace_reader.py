"""Reads a trace file back (`_trace_file` writes it), whole or cut off where its program was killed."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ._trace_file import VERSION

__all__ = ["Run", "TaskEvent", "UnreadableTrace", "WorkerLife", "read_trace"]


class UnreadableTrace(Exception):
    """There is no such trace; the message is a sentence for the user."""


@dataclass(slots=True)
class TaskEvent:
    """One run of a task, or one that never ran (worker 0). Times in microseconds of the trace."""

    name: str
    task: str
    worker: int
    queued: float
    began: float
    spent: float
    outcome: str
    error: str
    bytes_in: int
    bytes_out: int
    attempt: int
    callback: float = 0.0  # what its callbacks took


@dataclass(slots=True)
class WorkerLife:
    """A worker. Times in microseconds of the trace; ``ready`` is None where it never was."""

    number: int
    pid: int
    began: float
    ready: float | None
    ended: float
    reason: str  # "alive" at the end of the trace
    peak: int = 0  # bytes


@dataclass(slots=True)
class Run:
    """What a trace tells. ``whole``: it has its end."""

    facts: dict[str, Any]
    tasks: list[TaskEvent] = field(default_factory=list)
    workers: dict[int, WorkerLife] = field(default_factory=dict)
    spans: dict[str, float] = field(default_factory=dict)  # microseconds of pickling, unpickling and callbacks
    whole: bool = False

    @property
    def end(self) -> float:
        """When the last thing in it happened."""
        last = max((task.began + task.spent for task in self.tasks), default=0.0)
        return max([last, *(worker.ended for worker in self.workers.values())])


def read_trace(path: str) -> Run:
    """Raises UnreadableTrace."""
    events = _events(path)
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise UnreadableTrace(f"{path} is not a trace of this package")
    facts = next((event.get("args") for event in events if event.get("name") == "executor_trace"), None)
    if not isinstance(facts, dict):
        raise UnreadableTrace(f"{path} is not a trace of this package")
    if facts.get("version") != VERSION:
        raise UnreadableTrace(f"{path} is a trace of another version of this package ({facts.get('version')})")
    try:
        return _Reader(facts).read(events)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableTrace(f"{path} is a trace of this package that was changed ({error!r})") from None


def _events(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise UnreadableTrace(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnreadableTrace(f"{path} is not JSON") from None
    try:
        events = json.loads(text)
    except ValueError:
        events = _events_of_part(text, path)
    return events.get("traceEvents") if isinstance(events, dict) else events


def _events_of_part(text: str, path: str) -> Any:
    """The program was killed: what is there ends after a line, or in one."""
    if text.startswith("[\n"):
        for part in (text, text[: text.rfind(",\n")]):
            try:
                return json.loads(part + "]")
            except ValueError:
                continue
    raise UnreadableTrace(f"{path} is not JSON")


class _Reader:
    def __init__(self, facts: dict[str, Any]) -> None:
        self._run = Run(facts)
        self._callbacks: dict[str, float] = defaultdict(float)
        self._peaks: dict[int, int] = {}

    def read(self, events: list[dict[str, Any]]) -> Run:
        run = self._run
        spans = dict.fromkeys(("pickling", "unpickling", "callback"), 0.0)
        for event in events:
            category = event.get("cat")
            if category == "task":
                self._task(event)
            elif category == "worker":
                self._worker(event)
            elif category == "memory":
                tid = event["tid"]
                self._peaks[tid] = max(self._peaks.get(tid, 0), event["args"]["bytes"])
            elif category == "parent":
                spans[event["name"]] += event["dur"]
                if event["name"] == "callback":
                    self._callbacks[event["args"]["task"]] += event["dur"]
            elif event.get("name") == "executor_totals":
                run.whole = True
                spans["pickling"] = event["args"]["pickling"]
                spans["unpickling"] = event["args"]["unpickling"]
        run.spans = spans
        self._finish()
        return run

    def _task(self, event: dict[str, Any]) -> None:
        args = event["args"]
        self._run.tasks.append(
            TaskEvent(
                str(event["name"]),
                str(args["task"]),
                int(event["tid"]),
                float(args["queued"]),
                float(event["ts"]),
                float(event.get("dur", 0.0)),
                str(args["outcome"]),
                str(args.get("error", "")),
                int(args["bytes_in"]),
                int(args["bytes_out"]),
                int(args.get("attempt", 1)),
            )
        )

    def _worker(self, event: dict[str, Any]) -> None:
        if event["name"] != "start-up":
            return
        args, number = event["args"], int(event["tid"])
        self._run.workers[number] = WorkerLife(
            number, args["pid"], event["ts"], args["ready"], args["ended"], args["reason"]
        )

    def _finish(self) -> None:
        """Join what belongs together, and put what a killed program could not tell."""
        run = self._run
        run.tasks.sort(key=lambda task: task.began)
        last: dict[str, TaskEvent] = {}
        for task in run.tasks:
            last[task.task] = task
            if task.worker and task.worker not in run.workers:
                run.workers[task.worker] = WorkerLife(task.worker, 0, task.began, task.began, 0.0, "alive")
        end = run.end
        for worker in run.workers.values():
            if worker.ended == 0.0:
                worker.ended = end
            worker.peak = self._peaks.get(worker.number, 0)
        for number, spent in self._callbacks.items():
            if number in last:
                last[number].callback = spent
        run.workers = dict(sorted(run.workers.items()))
