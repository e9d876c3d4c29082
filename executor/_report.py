"""A page about a trace: tables and histograms made here, the timeline drawn by the script in `_report.html`.

The page is one file and asks nothing of any network. Whatever comes from the trace is escaped.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections import Counter
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from ._trace_reader import UnreadableTrace, read_trace
from ._trace_sums import functions, histogram_edges, worker_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._trace_reader import Run, TaskEvent
    from ._trace_sums import FunctionSums

__all__ = ["page_of", "write_report"]

_SLOWEST = 20
_FAILED = 100
_BAR = 9  # pixels
_HEIGHT = 36  # pixels of a histogram
OUTCOMES = ["ok", "error", "lost", "timeout", "retried", "cancelled"]


def write_report(trace: str, page: str | None = None) -> str:
    """Write the page about a trace; its path. Raises UnreadableTrace, with a sentence, for whatever is wrong."""
    run = read_trace(trace)
    path = page if page is not None else os.path.splitext(trace)[0] + ".html"
    try:
        Path(path).write_text(page_of(run, os.path.basename(trace)), encoding="utf-8")
    except OSError as error:
        raise UnreadableTrace(f"{path} cannot be written: {error.strerror}") from None
    return path


def page_of(run: Run, title: str) -> str:
    """The page as text."""
    parts = {
        "title": html.escape(title),
        "summary": _summary(run),
        "time": _time(run),
        "functions": _functions(run),
        "slowest": _slowest(run),
        "failed": _failed(run),
        "workers": _workers(run),
        "data": _data(run),
    }
    template = files("executor").joinpath("_report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


# --- what the script draws ------------------------------------------------------------------------------------------


def _data(run: Run) -> str:
    """The timeline as JSON, in columns. ``<`` is written in a way that cannot end the script element."""
    names = sorted({task.name for task in run.tasks})
    number = {name: at for at, name in enumerate(names)}
    tasks = run.tasks
    columns = {
        "name": [number[task.name] for task in tasks],
        "worker": [task.worker for task in tasks],
        "began": [round(task.began, 1) for task in tasks],
        "spent": [round(task.spent, 1) for task in tasks],
        "queued": [round(task.queued, 1) for task in tasks],
        "outcome": [OUTCOMES.index(task.outcome) if task.outcome in OUTCOMES else 1 for task in tasks],
        "bytesIn": [task.bytes_in for task in tasks],
        "bytesOut": [task.bytes_out for task in tasks],
        "task": [task.task for task in tasks],
    }
    rare = {  # of few tasks: by their number
        "error": {at: task.error for at, task in enumerate(tasks) if task.error},
        "attempt": {at: task.attempt for at, task in enumerate(tasks) if task.attempt > 1},
        "callback": {at: round(task.callback, 1) for at, task in enumerate(tasks) if task.callback},
    }
    workers = [
        [worker.number, worker.pid, worker.began, worker.ready, worker.ended, worker.reason]
        for worker in run.workers.values()
    ]
    whole = {"end": run.end, "names": names, "outcomes": OUTCOMES, "workers": workers, **columns, **rare}
    return json.dumps(whole, separators=(",", ":")).replace("<", "\\u003c")


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(name: str, heads: list[str], rows: Iterable[list[str]], nothing: str) -> str:
    """Cells are HTML already. A row that begins with a number in a link is one that the timeline can show."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return f'<p id="{name}">{nothing}</p>'
    head = "".join(f"<th>{text}</th>" for text in heads)
    return f'<table id="{name}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _summary(run: Run) -> str:
    counts = Counter(task.outcome for task in run.tasks)
    facts = run.facts
    began = datetime.fromtimestamp(float(facts.get("began", 0))).strftime("%Y-%m-%d %H:%M:%S")
    program = " ".join(map(str, facts.get("program", [])))
    lines = [
        f"<b>{html.escape(program)}</b>, {began}, Python {html.escape(str(facts.get('python')))}, at most "
        f"{facts.get('max_workers')} workers started by {html.escape(str(facts.get('start_method')))}.",
        f"{_seconds(run.end)}, {len(run.tasks)} runs of tasks, {len(run.workers)} workers: "
        + ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
        + ".",
    ]
    if not run.whole:
        lines.append("<em>The program was killed, or runs still: the last moments are missing.</em>")
    return f'<div id="summary">{"".join(f"<p>{line}</p>" for line in lines)}</div>'


def _time(run: Run) -> str:
    time = worker_time(run)
    spent = time.busy + time.starting + time.kept_waiting + time.idle
    rows = [
        [label, _seconds(value), f"{100 * value / spent if spent else 0:.1f} %"]
        for label, value in (
            ("tasks", time.busy),
            ("start-up of workers", time.starting),
            ("idle while tasks waited", time.kept_waiting),
            ("idle with nothing to do", time.idle),
        )
    ]
    own = [
        [label, _seconds(run.spans[name]), f"{100 * run.spans[name] / run.end if run.end else 0:.1f} %"]
        for label, name in (("pickling", "pickling"), ("unpickling", "unpickling"), ("callbacks", "callback"))
    ]
    heads = ["", "time", "share"]
    workers = _table("worker-time", ["of all workers", *heads[1:]], rows, "")
    return workers + _table("parent-time", ["of the program itself", *heads[1:]], own, "")


def _functions(run: Run) -> str:
    edges = histogram_edges(run)
    rows = [
        [
            html.escape(each.name),
            str(each.runs),
            str(each.failed or ""),
            _seconds(each.total),
            _seconds(each.total / each.runs),
            _seconds(each.median),
            _seconds(each.high),
            _seconds(each.most),
            _seconds(each.waited),
            _histogram(each, edges),
        ]
        for each in functions(run, edges)
    ]
    scale = f"{_seconds(edges[0])} to {_seconds(edges[-1])}" if edges else ""
    heads = ["function", "runs", "not ok", "total", "mean", "median", "95 %", "most", "waited"]
    return _table("functions", [*heads, f"how long ({scale}, logarithmic)"], rows, "No task has run.")


def _histogram(sums: FunctionSums, edges: list[float]) -> str:
    most = max(sums.counts)
    bars = []
    for at, (count, edge) in enumerate(zip(sums.counts, edges, strict=True)):
        if count:
            height = max(2, round(_HEIGHT * count / most))
            low = _seconds(edge / 10 ** (1 / 3))
            bars.append(
                f'<rect x="{at * _BAR}" y="{_HEIGHT - height}" width="{_BAR - 1}" height="{height}">'
                f"<title>{count} took {low} to {_seconds(edge)}</title></rect>"
            )
    return f'<svg width="{_BAR * len(edges)}" height="{_HEIGHT}" role="img">{"".join(bars)}</svg>'


def _slowest(run: Run) -> str:
    ran = [(at, task) for at, task in enumerate(run.tasks) if task.worker]
    slowest = sorted(ran, key=lambda pair: -pair[1].spent)[:_SLOWEST]
    rows = [[*_cells(at, task), _seconds(task.spent), task.outcome] for at, task in slowest]
    return _table("slowest", ["task", "function", "worker", "began", "took", "outcome"], rows, "No task has run.")


def _failed(run: Run) -> str:
    failed = [(at, task) for at, task in enumerate(run.tasks) if task.outcome != "ok"]
    rows = [[*_cells(at, task), task.outcome, f"<pre>{html.escape(task.error)}</pre>"] for at, task in failed[:_FAILED]]
    more = f"<p>and {len(failed) - _FAILED} more</p>" if len(failed) > _FAILED else ""
    heads = ["task", "function", "worker", "began", "outcome", "error"]
    return _table("failed", heads, rows, "All tasks returned.") + more


def _cells(at: int, task: TaskEvent) -> list[str]:
    link = f'<a href="#timeline" data-task="{at}">{html.escape(task.task)}</a>'
    return [link, html.escape(task.name), str(task.worker or ""), _seconds(task.began)]


def _workers(run: Run) -> str:
    reasons = Counter(worker.reason for worker in run.workers.values())
    ends = [[html.escape(reason), str(count)] for reason, count in reasons.most_common()]
    done = Counter(task.worker for task in run.tasks)
    rows = [
        [
            str(worker.number),
            str(worker.pid or ""),
            _seconds(worker.began),
            "" if worker.ready is None else _seconds(worker.ready - worker.began),
            _seconds(worker.ended - worker.began),
            str(done[worker.number]),
            f"{worker.peak / 1e6:.1f} MB" if worker.peak else "",
            html.escape(worker.reason),
        ]
        for worker in list(run.workers.values())[:_FAILED]
    ]
    heads = ["worker", "pid", "began", "start-up", "life", "tasks", "most memory seen", "ended"]
    left = len(run.workers) - len(rows)
    return (
        _table("ends", ["why workers ended", "workers"], ends, "No worker was started.")
        + _table("workers", heads, rows, "")
        + (f"<p>and {left} more</p>" if left else "")
    )


def _seconds(micros: float) -> str:
    """A duration for a person."""
    if micros < 1000:
        return f"{micros:.3g} µs" if micros < 999.5 else "1 ms"
    if micros < 1e6:
        return f"{micros / 1000:.3g} ms" if micros < 999_500 else "1 s"
    if micros < 1e8:
        return f"{micros / 1e6:.3g} s"
    return f"{micros / 1e6:.0f} s"
