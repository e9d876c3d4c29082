"""What a pool is doing in the OpenMetrics text form, which Prometheus and others read."""

from __future__ import annotations

from collections import Counter

from ._stats import snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._engine import Engine
    from ._session import Session
    from ._stats import Stats

    Samples = list[tuple[dict[str, str], float]]

__all__ = ["Durations", "metrics"]

_FIRST, _LAST = 10, 42  # buckets end at 4**5 ns (about 1 µs), then at each fourfold, to 4**21 ns (about 73 minutes)
_STATES = ("STARTING", "IDLE", "BUSY", "RETIRING")


class Durations:
    """A histogram of how long tasks took. Guarded by the engine's lock."""

    __slots__ = ("_by_bits", "_sum")

    def __init__(self) -> None:
        self._by_bits = [0] * 65  # one more for each doubling: the cheapest thing to find
        self._sum = 0

    def add(self, nanoseconds: int) -> None:
        self._by_bits[nanoseconds.bit_length()] += 1
        self._sum += nanoseconds

    def lines(self, name: str) -> Iterator[str]:
        counts = self._by_bits
        for bits in range(_FIRST, _LAST + 1, 2):
            yield f'{name}_bucket{{le="{(1 << bits) / 1e9!r}"}} {sum(counts[: bits + 1])}'
        yield f'{name}_bucket{{le="+Inf"}} {sum(counts)}'
        yield f"{name}_count {sum(counts)}"
        yield f"{name}_sum {self._sum / 1e9!r}"


def metrics(engine: Engine, sessions: list[Session]) -> str:
    """Any thread. From the first call on durations are counted."""
    with engine.lock:
        if engine.durations is None:
            engine.durations = Durations()
        durations = list(engine.durations.lines("executor_task_duration_seconds"))
        most = engine.settings.max_workers
    stats = snapshot(engine, sessions)
    lines = [*_task_lines(stats), *_worker_lines(stats, most)]
    lines += _head("executor_task_duration_seconds", "histogram", "How long tasks ran.", "seconds")
    return "\n".join([*lines, *durations, "# EOF", ""])


def _task_lines(stats: Stats) -> Iterator[str]:
    # How many were submitted is no counter: a map that is given up takes back what it had read.
    ends = {"done": stats.done, "failed": stats.failed, "cancelled": stats.cancelled}
    outcomes: Samples = [({"outcome": outcome}, count) for outcome, count in ends.items()]
    yield from _family("executor_tasks_finished", "counter", "Tasks that have ended.", outcomes)
    yield from _family("executor_tasks_retried", "counter", "Runs that followed a lost one.", [({}, stats.retried)])
    yield from _family("executor_tasks_pending", "gauge", "Tasks that have not begun.", [({}, stats.pending)])
    yield from _family("executor_tasks_running", "gauge", "Tasks that run.", [({}, stats.running)])


def _worker_lines(stats: Stats, most: int) -> Iterator[str]:
    states = Counter(worker.state for worker in stats.workers)
    now: Samples = [({"state": state.lower()}, states[state]) for state in _STATES]
    yield from _family("executor_workers", "gauge", "Workers by what they do.", now)
    yield from _family("executor_workers_allowed", "gauge", "How many workers there may be.", [({}, most)])
    ends: Samples = [({"reason": reason}, count) for reason, count in sorted(stats.restarts.items())]
    yield from _family("executor_workers_ended", "counter", "Workers that have ended.", ends)
    # By slot, not by name: a name is never used again, and there would be ever more series.
    placed = [worker for worker in stats.workers if worker.slot >= 0]
    memory: Samples = [({"slot": str(worker.slot)}, worker.memory) for worker in placed]
    yield from _family("executor_worker_memory_bytes", "gauge", "Resident memory of a worker.", memory, "bytes")
    spent: Samples = [({"slot": str(worker.slot)}, worker.task_seconds) for worker in placed]
    text = "How long the task of a worker has run, 0 without one."
    yield from _family("executor_worker_task_seconds", "gauge", text, spent, "seconds")


def _head(name: str, kind: str, text: str, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"


def _family(name: str, kind: str, text: str, samples: Samples, unit: str = "") -> Iterator[str]:
    yield from _head(name, kind, text, unit)
    suffix = "_total" if kind == "counter" else ""
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(content)}"' for label, content in labels.items())
        yield f"{name}{suffix}{f'{{{inside}}}' if inside else ''} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
