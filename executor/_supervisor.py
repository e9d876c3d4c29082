"""Keeps workers alive: starts them, gives them their slots, replaces and retires them, and buries the dead.

It knows no futures. What it needs to know and to tell goes through its owner (the manager). Its methods run in the
loop's leader unless they say otherwise; all fields are guarded by the manager's lock.

A worker's end is seen by its pidfd (by its sentinel where there is none): the end of its channel alone may mean that a
task has closed every descriptor. What it said before is read before anything is declared lost.
"""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from heapq import heapify, heappop, heappush
from logging import DEBUG
from time import monotonic

from ._errors import UNGUARDED_MAIN, InitializerError, RestartLimitReached, WorkerLost, describe_exit
from ._logger import log, tell
from ._loop import READ, WRITE
from ._messages import Kind
from ._oom import OomKills
from ._start import EXIT_UNGUARDED
from ._status import CLOSED
from ._worker import Worker, WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Protocol

    from ._loop import Loop
    from ._settings import Settings

    class Owner(Protocol):
        """What the supervisor asks of the manager."""

        def demand(self) -> int:
            """How many more calls wait than there are workers about to be free. With the lock."""

        def wanted_slots(self) -> Collection[int]:
            """Slots whose workers alone may run some of the calls that wait. With the lock."""

        def on_frames(self, worker: Worker, *, last: bool = False) -> None:
            """The worker has said something; ``last``: and will say nothing more."""

        def on_exit(self, worker: Worker, error: WorkerLost) -> bool:
            """The worker has gone: settle its leases. True if a running task explains it. With the lock."""

        def fail_pending(self, error: BaseException) -> None:
            """No worker can be had: whatever is pending fails. With the lock."""

        def on_free(self, worker: Worker) -> None:
            """The worker may be leased calls from now on. With the lock."""

        def task_seconds(self) -> float:
            """How long tasks take, on average. With the lock."""

        def on_worker_gone(self) -> None:
            """After a worker was buried."""


__all__ = ["Supervisor"]

_EXIT_CODE_WITHIN = 1.0  # seconds from a worker's end to its exit code, before it is given up
_FAILED_STARTS = 5  # in a row, at most
_MORE_AFTER = 0.5  # seconds from a failed start to the next, while other workers do the work
_RESIZED = "resized"
_RETIRE_WITHIN = 5.0  # seconds that the interpreter of a retired worker may take to end, after its finalizer


class Supervisor:
    def __init__(self, loop: Loop, settings: Settings, owner: Owner) -> None:
        self._loop = loop
        self._settings = settings
        self._owner = owner
        self.workers: dict[int, Worker] = {}  # all that are not DEAD
        self.idle: dict[int, Worker] = {}
        self.restarts: Counter[str] = Counter()  # reason -> how many workers ended for it
        self._next_id = 0
        self._free_slots = list(range(settings.max_workers))
        heapify(self._free_slots)
        self._without_slot: dict[int, Worker] = {}  # started ahead of the workers that they replace
        self._intensity = settings.intensity.fresh()
        self._oom = OomKills()
        self._deaths = 0  # unexplained ones since a worker last did something
        self._failed_starts = 0  # in a row
        self._not_before = 0.0  # no start before that
        self._due_at = 0.0  # for when `start_needed` was last put off
        self._replaces = settings.quota.replaces
        self._stopping = False

    # --- starting -------------------------------------------------------------------------------------------

    def wants_worker(self) -> bool:
        """Whether one more worker is to be started. With the lock."""
        if self._stopping:
            return False
        serving = starting = expiring = 0
        for worker in self.workers.values():
            if worker.state is WorkerState.RETIRING or self._expires(worker):
                expiring += 1
            else:
                serving += 1
                starting += worker.state is WorkerState.STARTING
        if serving >= self._settings.max_workers or serving + expiring >= 2 * self._settings.max_workers:
            return False
        if serving < self._settings.min_workers:
            return True
        return self._owner.demand() > starting + len(self.idle) or self._lacks_slot()

    def _lacks_slot(self) -> bool:
        """Whether tasks wait for a slot that no worker has or is about to get."""
        wanted = self._owner.wanted_slots()
        if not wanted:
            return False
        slots = [worker.slot for worker in self.workers.values()]
        return len(set(wanted).difference(slots)) > slots.count(-1)

    def may_grow(self) -> bool:
        """Whether it is worth asking `wants_worker`: all are there already, mostly. Any thread."""
        return len(self.workers) < self._settings.max_workers or self._settings.quota.replaces

    def serving(self) -> int:
        """How many workers are there to stay. With the lock."""
        return sum(worker.state is not WorkerState.RETIRING for worker in self.workers.values())

    def _expires(self, worker: Worker) -> bool:
        """Whether its quota is about to be used up, so that its successor should start by now."""
        quota = self._settings.quota
        if worker.kill_error is not None:
            return True
        if quota.tasks is not None and worker.tasks_leased >= max(1, quota.tasks - quota.tasks // 2):
            left = quota.tasks - worker.tasks_done
            return worker.tasks_leased >= quota.tasks or left * self._owner.task_seconds() < 0.2
        if quota.age is not None and worker.ready_at is not None:
            return monotonic() - worker.ready_at > quota.age - min(0.5, quota.age / 2)
        return False

    def start_needed(self) -> None:
        """Start a worker if one is wanted, and see about the next in another turn: a start may take milliseconds, in
        which those that are there are to be fed.
        """
        with self._loop.lock:
            if not self.wants_worker():
                return
            now = monotonic()
            if now < self._not_before:
                self._start_later()
                return
            self._next_id += 1
            worker = self.workers[self._next_id] = Worker(self._next_id, now)
        if self._launch(worker):
            self._loop.call_soon(self.start_needed)

    def _start_later(self) -> None:
        """One timer, however many tasks are submitted meanwhile. With the lock."""
        if self._due_at != self._not_before:
            self._due_at = self._not_before
            self._loop.call_at(self._not_before, self.start_needed)

    def _launch(self, worker: Worker) -> bool:
        settings = self._settings
        self._oom.begin()
        try:
            worker.start(settings.context, settings.method, settings.inherited(), settings.environment)
        except Exception as error:
            self._start_failed(worker, error)
            return False
        assert worker.channel is not None
        self._loop.watch(worker.channel.fileno(), READ, partial(self._on_channel, worker))
        if worker.pid is None:
            self._loop.watch(worker.process.sentinel, READ, partial(self._on_sentinel, worker))
        else:
            self._watch_end(worker)
        if settings.initializer is None and not self._set_up(worker):  # an initializer may ask for the slot
            return False
        self._without_slot[worker.id] = worker  # from here on any thread may give it one
        self._give_slots()
        return True

    def _start_failed(self, worker: Worker, error: BaseException) -> None:
        """The process could not be made: no memory, no descriptors; Python 3.12 does not fork any more once the program
        has come to its end.
        """
        tell("%s could not be started: %r", worker.name, error)
        with self._loop.lock:
            del self.workers[worker.id]
            worker.discard()
            if self.serving() and not self._lacks_slot():  # fewer than are wanted, but they do the work
                self._not_before = monotonic() + _MORE_AFTER
            else:
                self._count_death(f"could not be started: {error}", error, decisive=not isinstance(error, OSError))
        self._loop.call_soon(self.start_needed)

    def _set_up(self, worker: Worker) -> bool:
        """Send what makes it ready; the slot may come later. False if that failed."""
        try:
            written = worker.set_up(self._settings.initial(), self._settings.facts(worker))
        except BaseException as error:  # no descriptors left; an initializer that cannot be pickled
            worker.retire_reason = "could not be set up"
            self.kill(worker, None)
            if isinstance(error, KeyboardInterrupt):
                raise
            with self._loop.lock:
                self._count_death(f"{type(error).__name__}: {error}", error, decisive=not isinstance(error, OSError))
            return False
        if not written:
            self.mind_output(worker)
        return True

    def _give_slots(self) -> None:
        """Give slots to the workers that wait for one, as far as slots are free. Any thread."""
        while True:
            with self._loop.lock:
                if not self._without_slot or not self._free_slots:
                    return
                worker = self._without_slot.pop(next(iter(self._without_slot)))
                if worker.state is WorkerState.DEAD:
                    continue
                worker.slot = self._take_slot()  # free again when the worker has gone
                if worker.is_set_up:
                    if not worker.post_slot():
                        self.mind_output(worker)
                    if worker.is_warm:
                        self._put_to_work(worker)
                    continue
            self._set_up(worker)

    def _put_to_work(self, worker: Worker) -> None:
        """It is ready and has its slot. With the lock."""
        worker.ready_at = monotonic()
        worker.state = WorkerState.IDLE
        self.idle[worker.id] = worker
        if self._settings.quota.age is not None:
            self._loop.call_at(worker.ready_at + self._settings.quota.age, partial(self._on_age, worker))
            self._loop.call_at(worker.ready_at + self._settings.quota.age * 0.9, self.start_needed)
        self._owner.on_free(worker)

    def _take_slot(self) -> int:
        """The lowest that is free, of those that tasks wait for if there are such."""
        wanted = [slot for slot in self._owner.wanted_slots() if slot in self._free_slots]
        if not wanted:
            return heappop(self._free_slots)
        self._free_slots.remove(min(wanted))
        heapify(self._free_slots)
        return min(wanted)

    def mind_output(self, worker: Worker) -> None:
        """Have the loop write the rest when the socket takes it. Any thread."""
        if worker.channel is not None and not worker.channel.eof:
            self._loop.change(worker.channel.fileno(), READ | WRITE)

    # --- what the loop sees ---------------------------------------------------------------------------------

    def _on_channel(self, worker: Worker, readable: bool, writable: bool) -> None:
        channel = worker.channel
        assert channel is not None
        if writable:
            with self._loop.lock:
                if channel.flush():
                    self._loop.change(channel.fileno(), READ)
        if readable:
            self.receive(worker)

    def receive(self, worker: Worker) -> bool:
        """Take in what the worker has sent; False if some of that is left for later."""
        channel = worker.channel
        assert channel is not None
        if channel.eof:
            return True
        more = channel.receive()
        if channel.frames:
            self._owner.on_frames(worker)
        self._mind_end_of_channel(worker)
        return not more and not channel.frames

    def _mind_end_of_channel(self, worker: Worker) -> None:
        assert worker.channel is not None
        if not worker.channel.eof:
            return
        self._loop.unwatch(worker.channel.fileno())
        with self._loop.lock:
            self.idle.pop(worker.id, None)
            if worker.state is not WorkerState.DEAD:
                worker.words[CLOSED] = 1
                if worker.state is WorkerState.IDLE:
                    worker.state = WorkerState.RETIRING
        if worker.pid is not None and worker.pidfd < 0:
            self._watch_end(worker)

    def _on_sentinel(self, worker: Worker, readable: bool, writable: bool) -> None:
        """The fork server has told the pid of the worker."""
        self._loop.unwatch(worker.process.sentinel)
        try:
            worker.take_pid()
        except Exception as error:
            with self._loop.lock:
                self._forget(worker)
                self._count_death(str(error), RuntimeError(str(error)), decisive=True)
            self._loop.call_soon(self.start_needed)
            return
        self._watch_end(worker)

    def _watch_end(self, worker: Worker) -> None:
        if not worker.announced:
            worker.announced = True
            tell("%s (pid %s) started", worker.name, worker.pid)
            self._tell_retirement_now(worker)
        fd = worker.pidfd if worker.pidfd >= 0 else worker.process.sentinel
        self._loop.watch(fd, READ, partial(self._on_end, worker))

    def _on_end(self, worker: Worker, readable: bool = True, writable: bool = False) -> None:
        """The process has ended: take its exit code, then what it said, then bury it."""
        if worker.state is WorkerState.DEAD:
            return
        if worker.pidfd >= 0:
            self._loop.unwatch(worker.pidfd)
        known = worker.collect_exitcode()
        if not known and self._settings.method == "forkserver" and worker.exit_seen_at is None:
            # The server tells the exit code when it has reaped the worker: any moment now.
            worker.exit_seen_at = monotonic()
            self._loop.watch(worker.process.sentinel, READ, partial(self._on_end, worker))
            self._loop.call_at(worker.exit_seen_at + _EXIT_CODE_WITHIN, partial(self._on_end, worker))
            return
        self._loop.unwatch(worker.process.sentinel)
        channel = worker.channel
        assert channel is not None
        while not channel.eof and channel.receive():
            pass  # until the end, or, where a descendant holds the other end open, until nothing more is in it
        self._owner.on_frames(worker, last=True)
        self._bury(worker)

    def _bury(self, worker: Worker) -> None:
        with self._loop.lock:
            expected = worker.retire_reason is not None and not worker.leases
            starting = worker.state is WorkerState.STARTING and not worker.is_warm
            reason = "killed" if worker.kill_error is not None else "died"
            if worker.retire_reason is not None and (expected or worker.retire_reason != "max_tasks_per_child"):
                reason = worker.retire_reason
            self.restarts[reason] += 1
            error = self._obituary(worker)
            explained = self._owner.on_exit(worker, error) or expected or worker.kill_error is not None
            self._forget(worker)
            if not explained:
                detail = f"{worker.name} {error._how()}" + (" while it started" if starting else "")
                unguarded = starting and worker.exitcode == EXIT_UNGUARDED
                cause = RuntimeError(UNGUARDED_MAIN) if unguarded else error
                self._count_death(UNGUARDED_MAIN if unguarded else detail, cause, decisive=unguarded, starting=starting)
        self._tell_retirement_now(worker)
        tell("%s (pid %s) ended %s: %s", worker.name, worker.pid, describe_exit(worker.exitcode), reason)
        self._owner.on_worker_gone()
        self.start_needed()

    def _obituary(self, worker: Worker) -> WorkerLost:
        killed = worker.exitcode == -signal.SIGKILL and not worker.killed
        return WorkerLost(
            worker=worker.name,
            pid=worker.pid or 0,
            exitcode=worker.exitcode,
            peak_memory=worker.peak_memory,
            crash_log=worker.crash_log(),
            out_of_memory=killed and self._oom.explain_death(),
        )

    def _forget(self, worker: Worker) -> None:
        """Free all that is kept of it. With the lock."""
        assert worker.channel is not None
        self.workers.pop(worker.id, None)
        self.idle.pop(worker.id, None)
        self._without_slot.pop(worker.id, None)
        self._loop.unwatch(worker.channel.fileno())
        worker.discard()
        if worker.slot >= 0:
            self._free_slot(worker.slot)
            self._give_slots()

    def _free_slot(self, slot: int) -> None:
        if slot < self._settings.max_workers:  # or there are fewer slots by now
            heappush(self._free_slots, slot)

    # --- restart policy -------------------------------------------------------------------------------------

    def worked(self) -> None:
        """A worker has done something: whatever died before is forgiven. With the lock."""
        if self._deaths:
            self._deaths = 0
            self._not_before = 0.0
            self._intensity.forgive()

    def _count_death(self, detail: str, cause: BaseException, *, decisive: bool, starting: bool = True) -> None:
        """A death that no running task explains. With the lock."""
        now = monotonic()
        self._deaths += 1
        self._not_before = now + self._settings.backoff.pause(self._deaths)
        if starting:
            self._failed_starts += 1
            reached = self._failed_starts > min(_FAILED_STARTS, self._intensity.limit)
        else:
            reached = self._intensity.died(now)
        if not reached and not decisive:
            return
        deaths = max(self._failed_starts, self._intensity.deaths)
        self._intensity.forgive()  # a later submit tries again
        self._deaths = self._failed_starts = 0
        self._not_before = 0.0
        error: BaseException
        if starting and self._settings.initializer is not None and UNGUARDED_MAIN not in detail:
            error = InitializerError(detail)
        else:
            error = RestartLimitReached(deaths=deaths, period=self._intensity.period, detail=detail)
        error.__cause__ = cause
        self._owner.fail_pending(error)

    # --- ready, retired, killed -----------------------------------------------------------------------------

    def on_note(self, worker: Worker, kind: int) -> None:
        """A record that concerns the worker itself. With the lock."""
        if kind == Kind.READY and worker.state is WorkerState.STARTING:
            self._failed_starts = 0
            worker.is_warm = True
            if worker.slot >= 0:
                self._put_to_work(worker)
        elif kind == Kind.DONE:
            self._loop.call_at(monotonic() + _RETIRE_WITHIN, partial(self._kill_if_alive, worker))
        elif kind == Kind.FAILED:
            worker.retire_reason = "initializer"
            worker.state = WorkerState.RETIRING
            self._tell_retirement(worker)
            self._loop.call_at(monotonic() + _RETIRE_WITHIN, partial(self._kill_if_alive, worker))

    def _on_age(self, worker: Worker) -> None:
        with self._loop.lock:
            if worker.state is WorkerState.IDLE:
                self.retire(worker, "max_age_per_child")

    def retire_if_due(self, worker: Worker) -> bool:
        """Retire a worker without leases whose quota is used up. With the lock."""
        if worker.retire_reason is None and not self._replaces:
            return False
        if worker.leases or worker.state not in (WorkerState.IDLE, WorkerState.BUSY):
            return False
        assert worker.ready_at is not None
        reason = self._settings.quota.exceeded(tasks=worker.tasks_done, age=monotonic() - worker.ready_at)
        if reason is None:
            reason = worker.retire_reason
        if reason is None:
            return False
        self.retire(worker, reason)
        return True

    def retire(self, worker: Worker, reason: str) -> None:
        """Let it end after what it has in hand. With the lock; any thread."""
        if worker.state in (WorkerState.RETIRING, WorkerState.DEAD):
            return
        if worker.slot < 0:  # it has not run anything of the user's and never will
            self._without_slot.pop(worker.id, None)
            worker.retire_reason = reason
            self._tell_retirement(worker)
            self.kill(worker, None)
            return
        worker.retire_reason = reason
        self._tell_retirement(worker)
        worker.state = WorkerState.RETIRING
        self.idle.pop(worker.id, None)
        if not worker.post_retire():
            self.mind_output(worker)

    def retire_behind(self, worker: Worker) -> None:
        """If the last call that its quota allows is on its way: it ends after that without being told then. With the
        lock; any thread.
        """
        tasks = self._settings.quota.tasks
        if tasks is not None and worker.tasks_leased >= tasks and worker.state is WorkerState.BUSY:
            self.retire(worker, "max_tasks_per_child")

    def _tell_retirement(self, worker: Worker) -> None:
        if log.isEnabledFor(DEBUG):
            worker.retirement_untold = True
            self._loop.call_soon(partial(self._tell_retirement_now, worker))

    def _tell_retirement_now(self, worker: Worker) -> None:
        """Without the lock. Once, after its start and before its end, both of which tell its pid."""
        if worker.retirement_untold and worker.announced:
            worker.retirement_untold = False
            tell("%s (pid %s) retires: %s", worker.name, worker.pid, worker.retire_reason)

    def kill(self, worker: Worker, error: BaseException | None) -> None:
        """End it now, with what it has started; ``error`` is what its running task is told. Any thread."""
        self.kill_all([(worker, error)])

    def kill_all(self, victims: list[tuple[Worker, BaseException | None]]) -> None:
        """Several at once: none waits for another."""
        from ._process_tree import descendants, kill_processes

        with self._loop.lock:
            victims = [(worker, error) for worker, error in victims if worker.state is not WorkerState.DEAD]
            for worker, error in victims:
                self.idle.pop(worker.id, None)
                worker.killed = True
                if worker.kill_error is None:
                    worker.kill_error = error
            family = descendants([worker.pid for worker, _ in victims if worker.pid])
            for worker, _ in victims:
                if worker.pid is None and worker.channel is not None:
                    worker.channel.hang_up()  # still on its way: it ends when it finds the channel closed
                worker.signal(signal.SIGKILL)
            kill_processes(family)

    def resize(self, max_workers: int) -> None:
        """Have that many workers, with slots 0 to ``max_workers - 1``, from now on.

        Those with other slots get no more tasks and retire when they have none; those that are missing start when
        they are needed.
        """
        with self._loop.lock:
            self._settings.max_workers = max_workers
            workers = list(self.workers.values())
            held = {worker.slot for worker in workers}
            self._free_slots = [slot for slot in range(max_workers) if slot not in held]
            for worker in workers:
                if worker.slot >= max_workers:
                    if worker.state is WorkerState.BUSY:
                        worker.retire_reason = worker.retire_reason or _RESIZED
                    else:
                        self.retire(worker, _RESIZED)
                elif worker.retire_reason == _RESIZED and worker.state is WorkerState.BUSY:
                    worker.retire_reason = None  # it has not gone yet, and is wanted again
            for worker in list(self._without_slot.values())[: max(0, self.serving() - max_workers)]:
                self.retire(worker, _RESIZED)
        self._give_slots()

    def _kill_if_alive(self, worker: Worker) -> None:
        if worker.state is not WorkerState.DEAD:
            self.kill(worker, None)

    def stop(self) -> None:
        """Retire all; no more are started. With the lock; any thread."""
        self._stopping = True
        for worker in list(self.workers.values()):
            self.retire(worker, "shutdown")
