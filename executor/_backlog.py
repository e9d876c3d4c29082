"""Pending tasks: higher priority first, in the order of submission within one; what comes back goes to the front.

Pure; guarded by the manager's lock. A task that was cancelled stays until it is reached and is skipped then, so
that cancelling costs the same however many wait.
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ._task import Task
    from ._worker import Worker

__all__ = ["Backlog"]


class Backlog:
    __slots__ = ("_ordered", "_queues", "_wide")

    def __init__(self) -> None:
        self._queues: dict[float, deque[Task]] = {0: deque()}
        self._ordered = list(self._queues.values())  # the highest priority first
        self._wide: set[Task] = set()  # those among the tasks that stand for several calls

    def __bool__(self) -> bool:
        return self.head() is not None

    def add(self, task: Task) -> None:
        priority = task.options.priority
        queue = self._queues.get(priority)
        if queue is None:
            queue = self._open(priority)
        queue.append(task)
        if task.splits:
            self._wide.add(task)

    def give_back(self, tasks: Iterable[Task]) -> None:
        """Put tasks back that were taken, before all others of their priority and in the order given."""
        for task in reversed(list(tasks)):
            priority = task.options.priority
            queue = self._queues.get(priority)
            (self._open(priority) if queue is None else queue).appendleft(task)
            if task.splits:
                self._wide.add(task)

    def _open(self, priority: float) -> deque[Task]:
        queue = self._queues[priority] = deque()
        self._ordered = [self._queues[priority] for priority in sorted(self._queues, reverse=True)]
        return queue

    def head(self) -> Task | None:
        """The task that is next, None when there is none."""
        for queue in self._ordered:
            while queue:
                task = queue[0]
                if task.is_open():
                    return task
                queue.popleft()
                self._wide.discard(task)
        return None

    def take(self, most: int = 1) -> Task:
        """The task that `head` gave, taken off: at most so many of its calls, or with others that can go with it."""
        for queue in self._ordered:
            if queue:
                task = queue[0]
                if task.splits:
                    return task.portion(most)
                queue.popleft()
                return task if most == 1 else task.joined(queue, most)
        raise IndexError("no pending task")

    def count(self) -> int:
        """How many calls are pending, roughly: cancelled ones may count."""
        total = sum(map(len, self._queues.values()))
        if self._wide:
            self._wide = {task for task in self._wide if task.is_open()}
            total += sum(task.size() - 1 for task in self._wide)
        return total

    def seen_by(self, worker: Worker) -> Backlog:
        """What that worker may take of it: `PlacedBacklog` has a narrower answer."""
        return self

    def wanted_slots(self) -> Collection[int]:
        """Slots whose workers alone may run some of the tasks."""
        return ()

    def __iter__(self) -> Iterator[Task]:
        for queue in self._ordered:
            yield from queue

    def drain(self) -> list[Task]:
        """Remove and return all."""
        tasks = [task for task in self if task.is_open()]
        for queue in self._queues.values():
            queue.clear()
        self._wide.clear()
        return tasks
