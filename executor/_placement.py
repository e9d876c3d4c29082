"""The backlog of an engine some of whose tasks may not run anywhere, or at any time: with a slot, a key, resources.

    PlacedBacklog   has a Backlog for each combination of slot and resources that tasks ask for, and one for the others
    View            what one worker may take of it

Pure; guarded by the manager's lock.
"""

from __future__ import annotations

from collections import Counter

from ._backlog import Backlog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Any

    from ._resources import Requirement, Tokens
    from ._settings import Settings
    from ._task import Task
    from ._worker import Worker

    Group = tuple[int | None, Requirement]

__all__ = ["PlacedBacklog"]

_MOST_KEYS = 65536


class PlacedBacklog:
    """``fail``: called with a task whose slot there is no more."""

    def __init__(self, common: Backlog, settings: Settings, tokens: Tokens, fail: Callable[[Task], None]) -> None:
        self._common = common
        self._settings = settings
        self._tokens = tokens
        self._fail = fail
        self._groups: dict[Group, Backlog] = {}
        self._keys: dict[Any, int] = {}  # key -> slot
        self._keys_of: Counter[int] = Counter()  # slot -> how many keys
        self._placed_last = False  # the last tie between a placed task and another went to the placed one

    # --- where a task belongs ---------------------------------------------------------------------------------

    def slot_of(self, task: Task) -> int | None:
        """The slot whose worker is to run it; None: any."""
        options = task.options
        return self._slot_of_key(options.key) if options.key is not None else options.slot

    def _slot_of_key(self, key: Any) -> int:
        slot = self._keys.get(key)
        if slot is None or slot >= self._settings.max_workers:
            if slot is not None:
                self._forget_key(key)
            elif len(self._keys) >= _MOST_KEYS:
                self._forget_key(next(iter(self._keys)))
            slot = min(range(self._settings.max_workers), key=lambda slot: (self._keys_of[slot], slot))
            self._keys[key] = slot
            self._keys_of[slot] += 1
        return slot

    def _forget_key(self, key: Any) -> None:
        self._keys_of[self._keys.pop(key)] -= 1

    def _backlog_of(self, task: Task) -> Backlog | None:
        """None: the task's slot is no more."""
        options = task.options
        if not options.placed:
            return self._common
        slot = self.slot_of(task)
        if slot is not None and slot >= self._settings.max_workers:
            return None
        group = slot, options.requirement
        backlog = self._groups.get(group)
        if backlog is None:
            backlog = self._groups[group] = Backlog()
        return backlog

    # --- as a Backlog -----------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self._common) or any(self._groups.values())

    def add(self, task: Task) -> None:
        backlog = self._backlog_of(task)
        if backlog is None:
            self._fail(task)
        else:
            backlog.add(task)

    def give_back(self, tasks: Iterable[Task]) -> None:
        for task in reversed(list(tasks)):
            backlog = self._backlog_of(task)
            if backlog is None:
                self._fail(task)
            else:
                backlog.give_back([task])

    def count(self) -> int:
        """How many calls are pending that any worker could begin now, roughly."""
        total = self._common.count()
        for (slot, needed), backlog in self._groups.items():
            if slot is None and (calls := backlog.count()):
                total += min(calls, self._tokens.fits(needed))
        return total

    def __iter__(self) -> Iterator[Task]:
        yield from self._common
        for backlog in self._groups.values():
            yield from backlog

    def drain(self) -> list[Task]:
        return self._common.drain() + [task for backlog in self._groups.values() for task in backlog.drain()]

    def seen_by(self, worker: Worker) -> View:
        return View(self, worker.slot)

    # --- which workers are wanted -----------------------------------------------------------------------------

    def wanted_slots(self) -> set[int]:
        """Those whose workers have something to do now."""
        return {
            slot
            for (slot, needed), backlog in self._groups.items()
            if slot is not None and backlog and (not needed or self._tokens.fits(needed))
        }

    def idle_for(self, task: Task, idle: Collection[Worker]) -> Worker | None:
        """One of these that may run the task."""
        slot = self.slot_of(task)
        return next((worker for worker in idle if slot is None or worker.slot == slot), None)

    def resized(self) -> None:
        """There are more or fewer slots: tasks whose slot is no more go elsewhere where only a key asked for it."""
        for group in [group for group in self._groups if group[0] is not None]:
            if group[0] is not None and group[0] >= self._settings.max_workers:
                for task in self._groups.pop(group).drain():
                    self.add(task)

    # --- for View ---------------------------------------------------------------------------------------------

    def next_for(self, slot: int) -> tuple[Backlog, Task | None]:
        """The task that the worker with this slot is to take next, and the backlog it is in."""
        common = self._common.head()
        best: tuple[Backlog, Task] | None = None
        for (wanted, needed), backlog in self._groups.items():
            if wanted is not None and wanted != slot:
                continue
            if needed and not self._tokens.fits(needed):
                continue
            task = backlog.head()
            if task is not None and (best is None or task.options.priority > best[1].options.priority):
                best = backlog, task
        if best is None:
            return self._common, common
        if common is not None:
            ours, theirs = best[1].options.priority, common.options.priority
            # Equals take turns: neither kind is to wait for ever because of the other.
            if ours < theirs or (ours == theirs and self._placed_last):
                self._placed_last = False
                return self._common, common
        self._placed_last = True
        return best


class View:
    """What one worker may take, as a Backlog."""

    __slots__ = ("_all", "_chosen", "_slot")

    def __init__(self, backlog: PlacedBacklog, slot: int) -> None:
        self._all = backlog
        self._slot = slot
        self._chosen: Backlog | None = None

    def head(self) -> Task | None:
        self._chosen, task = self._all.next_for(self._slot)
        return task

    def take(self, most: int = 1) -> Task:
        assert self._chosen is not None
        return self._chosen.take(most)
