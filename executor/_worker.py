"""The parent's handle on one worker process: its channel, its status page, the leases it holds."""

from __future__ import annotations

import enum
import multiprocessing.process
import os
import pickle
import signal
import socket
from contextlib import nullcontext

from . import _forwarding, _pickling, _worker_main
from ._channel import Channel
from ._forksafety import disown, own
from ._messages import CALLS, LOGGING, RETIRE, SETUP, SLOT
from ._pickling import Parcel
from ._series import unsent_series
from ._start import WORKER_NAME, heap_frozen, make_process, path_of_main, sigint_blocked, without_false_main
from ._status import CUT, FILLED, ITEM, LOW, REVOKED, RUNNING, SERIES, STARTED, StatusBlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any

    from ._environment import Environment
    from ._resources import Held
    from ._task import Task

__all__ = ["PAUSE", "HoldingLease", "Lease", "Worker", "WorkerState"]

PAUSE = 0.001  # seconds between `Worker.revoke` and `Worker.reclaim`; longer than any store buffer holds a write


class WorkerState(enum.IntEnum):
    """STARTING → IDLE ⇄ BUSY → RETIRING → DEAD; any state may go to DEAD, and only DEAD is final.

    STARTING  the process is on its way, runs the initializer, or waits for its slot
    IDLE      no leases
    BUSY      at least one lease
    RETIRING  gets no more leases; ends when those it has are done
    DEAD      the process has ended and everything it said has been read
    """

    STARTING = 0
    IDLE = 1
    BUSY = 2
    RETIRING = 3
    DEAD = 4


class Lease:
    """This task is with that worker. ``cost`` is the estimate (seconds) it was leased with, from ``key``'s record.

    ``bytes``, the size of its call (of each of its items), is set where a trace is recorded.
    """

    __slots__ = ("bytes", "cost", "key", "number", "task")

    if TYPE_CHECKING:
        bytes: int

    held: Held | None = None  # tokens that are free again when the lease is over

    def __init__(self, number: int, task: Task, key: Any, cost: float) -> None:
        self.number = number
        self.task = task
        self.key = key
        self.cost = cost


class HoldingLease(Lease):
    """A lease that holds tokens."""

    __slots__ = ("held",)

    def __init__(self, number: int, task: Task, key: Any, cost: float, held: Held) -> None:
        super().__init__(number, task, key, cost)
        self.held = held


class Worker:
    """One worker. Guarded by the manager's lock, but for what only the loop's leader touches (channel input)."""

    __slots__ = (
        "announced",
        "block",
        "channel",
        "cut",
        "exit_seen_at",
        "exitcode",
        "feeding",
        "id",
        "idle_due",
        "idle_since",
        "in_hand",
        "initializer_error",
        "is_warm",
        "kill_error",
        "killed",
        "leases",
        "lifeline",
        "logging_version",
        "logs_read",
        "name",
        "next_lease",
        "over_memory_lease",
        "peak_memory",
        "pid",
        "pidfd",
        "process",
        "progress_due",
        "ready_at",
        "reclaimed",
        "retire_reason",
        "retirement_untold",
        "returned",
        "revoked",
        "sentenced",
        "slot",
        "started_at",
        "state",
        "tasks_done",
        "tasks_leased",
        "unreclaimed",
        "watch_due",
    )

    def __init__(self, id: int, now: float) -> None:
        self.id = id  # never used again, unlike a pid
        self.slot = -1  # until one is free
        self.name = f"{WORKER_NAME}{id}"
        self.state = WorkerState.STARTING
        self.announced = False  # its start was logged
        self.leases: dict[int, Lease] = {}
        self.next_lease = 1
        self.in_hand = 0.0  # seconds of work, by the estimates
        self.feeding = False  # some thread is encoding calls for it
        self.tasks_done = 0
        self.tasks_leased = 0
        self.started_at = now
        self.ready_at: float | None = None
        self.retire_reason: str | None = None
        self.is_warm = False  # it has said that it is ready
        self.retirement_untold = False  # it is to be logged, once the lock is free
        self.initializer_error: BaseException | None = None  # why it could not be initialised
        self.kill_error: BaseException | None = None  # what the running task is to be told
        self.killed = False  # by us
        self.revoked: tuple[int, int] | None = None  # first and last lease of the range
        self.unreclaimed = False  # that range, or `cut`, was written less than a moment ago
        self.reclaimed: set[int] = set()  # leases taken back whose SKIPPED has not come
        self.returned: list[Task] = []  # it has skipped these; they go back together, or their order would be lost
        self.peak_memory: int | None = None
        self.sentenced: tuple[int, int] | None = None  # the lease, and its item, on whose account it is killed
        self.over_memory_lease = -1  # what it ran when it was first seen over its memory quota
        self.exitcode: int | None = None
        self.exit_seen_at: float | None = None
        self.cut: tuple[int, int] | None = None  # of the running run: its lease, the first item not to begin
        self.progress_due = False  # a timer is set
        self.watch_due: float | None = None  # when the time limits are looked at next
        self.idle_due = False  # a timer is set
        self.idle_since = now
        self.logs_read = 0  # the number of the last log record that was read
        self.logging_version = 0  # which state of the parent's logging it has been told
        self.process: Any = None
        self.channel: Channel | None = None
        self.block: StatusBlock | None = None
        self.lifeline = -1
        self.pidfd = -1
        self.pid: int | None = None

    # --- starting -----------------------------------------------------------------------------------------

    def start(
        self,
        context: BaseContext,
        method: str,
        inherited: tuple[Any, ...] | None,
        environment: Environment | None,
    ) -> None:
        """Launch the process. Whatever can fail raises, and leaves nothing behind but what `discard` frees.

        The process waits for `set_up` before it runs anything of the user's. ``inherited``: the initializer and
        its arguments, where the process is a fork of this one and needs no pickle of them.
        """
        ours, theirs = socket.socketpair()
        own(ours.fileno())
        self.channel = Channel(ours)
        try:
            self.block = StatusBlock()
            own(self.block.fd)
            arguments = theirs, path_of_main(method), inherited, environment
            sent_ahead = environment if inherited is None else None
            self.process = make_process(context, _worker_main.main, self.name, arguments, sent_ahead)
            if inherited is not None:
                _forwarding.preload()
            frozen = heap_frozen() if inherited is not None else nullcontext()
            with sigint_blocked(), without_false_main(), _pickling.import_lock, frozen:
                self.process.start()
            self.pid = self.process.pid
        finally:
            theirs.close()
        if self.pid is not None:
            self.open_pidfd()

    @property
    def is_set_up(self) -> bool:
        return self.lifeline >= 0

    def set_up(self, initial: bytes | Parcel, facts: dict[str, Any]) -> bool:
        """Give it its status page, its lifeline, its slot (-1: it comes later) and its first call; False when a part
        of that waits for the socket.
        """
        assert self.channel is not None
        assert self.block is not None
        read_end, self.lifeline = os.pipe()
        own(self.lifeline)
        fds = [os.dup(self.block.fd), read_end]
        if isinstance(initial, Parcel):
            fds += initial.fds
            initial = initial.data
        facts = {"id": self.id, "slot": self.slot, "name": self.name, **facts}
        self.channel.post(pickle.dumps((SETUP, facts, initial), 5), fds)
        return self.channel.flush()

    def open_pidfd(self) -> None:
        """A descriptor that tells of the process's end, whatever its descendants hold open."""
        if hasattr(os, "pidfd_open") and self.pid is not None:
            try:
                self.pidfd = own(os.pidfd_open(self.pid))
            except OSError:  # gone already, or no descriptor left: the sentinel will tell
                self.pidfd = -1

    def take_pid(self) -> bool:
        """After the sentinel became readable: True if it was the fork server's answer, not the end."""
        if self.pid is not None:
            return False
        self.pid = self.process._popen.read_pid()
        self.open_pidfd()
        return True

    # --- what it does -------------------------------------------------------------------------------------

    @property
    def words(self) -> memoryview:
        assert self.block is not None
        return self.block.words

    def running(self) -> Lease | None:
        """The lease that the worker has begun and whose outcome has not come, by its own word."""
        return self.leases.get(self.words[RUNNING]) if self.leases else None

    def words_running(self) -> int:
        """The word RUNNING, 0 if the worker has gone."""
        return 0 if self.state is WorkerState.DEAD else int(self.words[RUNNING])

    def has_begun(self, task: Task) -> bool:
        """Whether it has begun that task, which is leased to it, by its own word. With the lock."""
        assert task.lease is not None
        number = task.lease[1]
        running = self.words_running()
        if running != number or number not in self.leases:
            return running & LOW >= number
        return bool(self.words[ITEM] >= self.leases[number].task.index(task))

    def holds_behind(self, lease: Lease, item: int) -> bool:
        """Whether there is anything behind that item for it to begin. With the lock."""
        return item + 1 < lease.task.size() or next(reversed(self.leases)) > lease.number

    def running_since(self) -> float:
        """When that began: seconds of time.monotonic(). Read `running` first."""
        return float(self.words[STARTED]) / 1e9

    # --- messages -----------------------------------------------------------------------------------------

    def post_calls(self, calls: list[tuple[Any, ...]], fds: list[int], *, look: bool) -> bool:
        """Queue and write a batch of calls; False when a part of it waits for the socket.

        ``look``: behind them the worker may look for the next before it sleeps.
        """
        assert self.channel is not None
        self._clear_cut()
        self.channel.post(pickle.dumps((CALLS, calls, look), 5), fds)
        return self.channel.flush()

    def post_slot(self) -> bool:
        assert self.channel is not None
        self.channel.post(pickle.dumps((SLOT, self.slot), 5))
        return self.channel.flush()

    def post_logging(self, version: int, state: bytes) -> None:
        """Queue the parent's levels and filters, to be known before the calls that are posted next."""
        assert self.channel is not None
        self.logging_version = version
        self.channel.post(pickle.dumps((LOGGING, state), 5))

    def post_retire(self) -> bool:
        assert self.channel is not None
        self.channel.post(pickle.dumps((RETIRE,), 5))
        return self.channel.flush()

    def unsent_outcomes(self) -> bytes:
        """A copy of the records that the worker has put into shared memory and not sent yet; none if it lives and goes
        on meanwhile.
        """
        assert self.block is not None
        words = self.block.words
        series = words[SERIES]
        records = bytes(self.block.area[16 : max(16, words[FILLED])]) + unsent_series(self.block)
        return records if words[SERIES] == series else b""

    # --- revocation (the protocol: ARCHITECTURE.md) ---------------------------------------------------------

    def revoke(self, *, but_first: bool = False) -> bool:
        """Write what is not to begin: the leases behind the running one, the items behind the running one.

        ``but_first``: where none is running, the next lease (its first item) may begin all the same. False when there
        is nothing to revoke, or when what was written last is not reclaimed yet.
        """
        if self.unreclaimed:
            return False
        running = self.words[RUNNING]
        item = self.words[ITEM] + 1
        begun = running & LOW
        if but_first and running not in self.leases:
            running = begun = next((number for number in self.leases if number > begun), 0)
            item = 1
        lease = self.leases.get(running)
        self.cut = (running, item) if lease is not None and item < lease.task.size() else None
        if self.cut is not None and self.is_leaving_run():
            self.cut = None
        numbers = [number for number in self.leases if number > begun]
        if not numbers and self.cut is None:
            return False
        first, last = self.revoked or (0, 0)
        if numbers:
            first, last = min(first or numbers[0], numbers[0]), max(last, numbers[-1])
        self.revoked = first, last
        self.unreclaimed = True
        self.words[REVOKED] = first << 32 | last
        if self.cut is not None:
            self.words[CUT] = running << 32 | item
        return True

    def is_leaving_run(self) -> bool:
        """Whether it is still in a run whose rest was cut off, and whose other outcomes have come: before it has seen
        that cut there must not be another.
        """
        number = self.words[CUT] >> 32
        return number > 0 and number == self.words[RUNNING] and number not in self.leases

    def reclaim(self) -> list[Task]:
        """A millisecond after `revoke`: what can no longer begin, in its order."""
        assert self.revoked is not None
        self.unreclaimed = False
        running = self.words[RUNNING]
        begun = running & LOW
        tasks = []
        if self.cut is not None and (rest := self._cut_off(running, *self.cut)) is not None:
            tasks.append(rest)
        first, last = self.revoked
        first = max(first, begun + 1)
        for lease in [lease for number, lease in self.leases.items() if first <= number <= last]:
            self.drop(lease)
            self.reclaimed.add(lease.number)
            tasks.append(lease.task)
        for task in tasks:
            task.lease = None
            self.tasks_leased -= task.size()
        self.settle_revocation()
        return tasks

    def _cut_off(self, running: int, number: int, item: int) -> Task | None:
        """The items of that run that can no longer begin."""
        if number not in self.leases or (running != number and running & LOW >= number):
            return None
        if running == number:
            item = max(item, self.words[ITEM] + 1)
            if self.words[RUNNING] != number:  # the item was another run's; the worker's own word settles it
                return None
        return self.leases[number].task.cut(item)

    def take_returned(self) -> list[Task]:
        returned, self.returned = self.returned, []
        return returned

    def settle_revocation(self) -> None:
        """The range is free again once the worker has spoken on every lease in it."""
        if self.revoked is not None and not self.unreclaimed and not self.reclaimed:
            first, last = self.revoked
            if not any(first <= number <= last for number in self.leases):
                self.revoked = None
                self.words[REVOKED] = 0

    def _clear_cut(self) -> None:
        """It concerns one run, and the worker looks at it before each item of any. Once that run is over and
        the worker has left it, none of its items can begin any more.
        """
        cut = self.words[CUT]
        if cut and self.revoked is None and cut >> 32 not in (self.words[RUNNING], *self.leases):
            self.words[CUT] = 0

    def drop(self, lease: Lease) -> None:
        """The lease is over, however."""
        del self.leases[lease.number]
        self.in_hand = self.in_hand - lease.cost if self.leases else 0.0
        if lease.held is not None:
            lease.held.release()

    # --- ending -------------------------------------------------------------------------------------------

    def signal(self, signum: int) -> None:
        """Send a signal to the process, and to no other that may have its pid by now."""
        try:
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, signum)
            elif self.process is not None and self.process.is_alive() and self.pid is not None:
                os.kill(self.pid, signum)
        except (ProcessLookupError, ValueError):
            pass

    def collect_exitcode(self) -> bool:
        """Whether the exit code is known now (some other code may have stolen it: then it never is)."""
        try:
            self.exitcode = self.process.exitcode
        except (ValueError, AttributeError):  # closed, or never started
            return True
        return self.exitcode is not None

    def crash_log(self) -> str:
        return self.block.read_log() if self.block is not None else ""

    def discard(self) -> None:
        """Free what the parent holds of it. The process is to have ended (or not to have started)."""
        self.state = WorkerState.DEAD
        if self.channel is not None and self.channel.fileno() >= 0:
            disown(self.channel.fileno())
            self.channel.close()
        for fd in (self.lifeline, self.pidfd):
            if fd >= 0:
                os.close(disown(fd))
        self.lifeline = self.pidfd = -1
        if self.block is not None:
            disown(self.block.fd)
            self.block.close()
        if self.process is not None and self.process._popen is not None:
            if self.process.exitcode is None:
                self.process._popen.returncode = 255  # stolen, or the fork server has gone: it is dead all the same
            self.process.join(0)
            if hasattr(self.process._popen, "close"):  # loky's closes with its last reference
                self.process.close()
            self.process = None

    def after_fork_in_child(self) -> None:
        """The descriptors are closed already: keep their numbers from being closed again."""
        if self.channel is not None:
            self.channel.forget()
        self.lifeline = self.pidfd = -1
        if self.block is not None:
            self.block.fd = -1
        # multiprocessing would join it when the child ends, and fail.
        multiprocessing.process._children.discard(self.process)  # type: ignore[attr-defined]
