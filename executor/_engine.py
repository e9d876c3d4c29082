"""Brings tasks and workers together: what is submitted, what is leased, what comes back.

    submit ▸ Backlog ─lease▸ Worker ═════▸ the worker process
    settle ◂ records ◂ Channel ◂═════

Any thread submits, cancels and feeds a worker (writes calls to its socket); only the loop's leader reads. State is
guarded by ``lock``; user code (pickling, callbacks) never runs with it held.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from time import monotonic, monotonic_ns

from . import _log_handling
from ._backlog import Backlog
from ._channel import MAX_DESCRIPTORS, close_all
from ._crowd import Crowd
from ._depot import KEEP, depot
from ._errors import InitializerError
from ._exceptions import copy_of
from ._forksafety import on_fork_in_child
from ._interrupt import reaches_here
from ._loop import Loop
from ._losses import settle_leases
from ._messages import Kind
from ._placement import PlacedBacklog
from ._policy import QUICK, WINDOW, Estimates
from ._records import read_records
from ._resources import Tokens
from ._revocation import Revocation
from ._series import is_series
from ._status import LOW
from ._supervisor import Supervisor
from ._task import RUN_OVERHEAD, Task
from ._watch import Watch
from ._worker import HoldingLease, Lease, Worker, WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from ._errors import WorkerLost
    from ._metrics import Durations
    from ._records import Record
    from ._session import Session
    from ._settings import Settings
    from ._trace import Tracer

__all__ = ["Engine"]

_GRAIN = 0.0001  # seconds of work that are not worth being shared out
_BATCH = 64  # calls in one message: the worker begins while the next are encoded
_POLL_EVERY = 64  # submits by a thread that does nothing else: it has to keep the workers fed itself
_POLL_AFTER = 0.0005  # and seconds since it did so last
_FAIL_FAST = 1.0  # seconds after an initializer has raised in which a submit fails at once instead of trying again
_SERVING = frozenset((WorkerState.IDLE, WorkerState.BUSY))


class Engine:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.crowd = Crowd(self)
        self.loop = Loop("executor-loop", self._end_of_turn, self._crashed, self.crowd.leaves_a_core)
        self.lock = self.loop.lock
        self.backlog: Backlog | PlacedBacklog = Backlog()  # guarded by lock, as all below
        self.tokens = Tokens(settings.resources, self._on_tokens_freed)
        self.estimates = Estimates()
        self.supervisor = Supervisor(self.loop, settings, self)
        self.revocation = Revocation(self)
        self.watch = Watch(self.loop, settings, self.supervisor, self.revocation.leave_alone)
        self.sessions: set[Session] = set()
        self.retried = 0
        self.tracer: Tracer | None = None  # records what happens, where a trace was asked for
        self.durations: Durations | None = None  # of tasks, once metrics were asked for
        self.monitored = False  # shown to `python -m executor top`
        self.forked = False
        self._mean = 0.01  # seconds a task takes, moving average
        self._notes: deque[Any] = deque()  # log records that were read. For the leader alone, as the next
        self._handling = False  # they are being handled
        self._resolved: deque[Task] = deque()  # their callbacks are due
        self.hungry: dict[int, Worker] = {}  # workers that may take more
        self.unread: dict[int, Worker] = {}  # workers whose frames are not handled yet
        self.broken: BaseException | None = None  # why no worker can be had, until one can
        self.usable = True  # False: `check_usable` has something to say
        self._try_again_at = 0.0
        self._crash: BaseException | None = None
        self.owner_pid = os.getpid()
        self.waiters: list[Any] = []  # who waits for the workers to go
        self._submits = 0
        self._polled_at = 0.0
        self._depot_due = False  # a timer is set
        self._started = False
        self._stopping = False
        on_fork_in_child(self)

    # --- submitting -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the loop's thread. With the lock."""
        if not self._started:
            self._started = True
            if self.settings.forks_here:
                self.supervisor.start_needed()  # the first worker is forked before there is a second thread
            self.loop.thread.start()

    def submit(self, task: Task, queue: bool = True) -> None:
        """Queue a task (or note that one has grown); feed an idle worker at once. Any thread, without the lock."""
        supervisor = self.supervisor
        with self.lock:
            if queue:
                if task.options.placed:
                    self._place()
                self.backlog.add(task)
            if self.tracer is not None:
                self.tracer.queued(task)
            if not self._started:
                self.start()
            worker = self._idle_for(task) if supervisor.idle else None
            grow = worker is None and self._grows()
            if grow and self.settings.forks_here:
                supervisor.start_needed()
                return
        if worker is not None:
            self.feed(worker)
            with self.lock:
                grow = bool(self.backlog) and self._grows()
        if grow:
            self.loop.call_soon(supervisor.start_needed)
        elif worker is None:
            self._submits += 1
            if not self._submits % _POLL_EVERY and monotonic() - self._polled_at > _POLL_AFTER:
                self.loop.poll()
                self._polled_at = monotonic()

    def _idle_for(self, task: Task) -> Worker | None:
        """The idle worker that is to be woken for the task, if any is. With the lock."""
        idle = self.supervisor.idle.values()
        if task.options.placed:
            return self.backlog.idle_for(task, idle)  # type: ignore[union-attr]  # it is placed
        if isinstance(self.backlog, Backlog) and self.crowd.may_wait(task):
            return None
        return next(reversed(idle))

    def _place(self) -> None:
        """From now on the backlog is one that knows slots, keys and resources. With the lock."""
        if isinstance(self.backlog, Backlog):
            self.backlog = PlacedBacklog(self.backlog, self.settings, self.tokens, self._fail_displaced)

    def _fail_displaced(self, task: Task) -> None:
        task.fail(ValueError(f"slot {task.options.slot}: the executor has {self.settings.max_workers} workers by now"))
        self.resolve(task, failed=True)

    def on_resized(self) -> None:
        """There are more or fewer slots."""
        with self.lock:
            if isinstance(self.backlog, PlacedBacklog):
                self.backlog.resized()
        self.loop.wake()

    def _on_tokens_freed(self) -> None:
        """Tasks that waited for them may be for any worker. With the lock."""
        self.hungry.update(self.supervisor.idle)
        self.loop.call_soon(self.supervisor.start_needed)

    def wanted_slots(self) -> Collection[int]:
        return self.backlog.wanted_slots()

    def _grows(self) -> bool:
        """Whether one more worker is to be started. With the lock."""
        return self.supervisor.may_grow() and self.supervisor.wants_worker()

    def check_usable(self) -> None:
        """Raise if the loop has failed, or workers have just failed to be initialised. With the lock."""
        if self._crash is not None:
            raise RuntimeError("the executor's loop has failed") from self._crash
        if self.broken is not None and monotonic() < self._try_again_at:
            raise copy_of(self.broken)

    def demand(self) -> int:
        return self.backlog.count()

    def task_seconds(self) -> float:
        return self._mean

    def on_free(self, worker: Worker) -> None:
        self.hungry[worker.id] = worker
        self.loop.wake()  # the leader feeds it, if that is not the calling thread

    # --- leasing --------------------------------------------------------------------------------------------

    def feed(self, worker: Worker) -> None:
        """Lease to the worker what fits its window. Any thread, without the lock."""
        with self.lock:
            self.hungry.pop(worker.id, None)  # now, not later: what comes about meanwhile makes it hungry again
            if worker.feeding:
                return  # that thread goes on until nothing fits
            leases = self._lease(worker)
            worker.feeding = bool(leases)
        while leases:
            try:
                calls, fds = self._encode(worker, leases)
                with self.lock:
                    if calls:
                        self._post(worker, calls, fds)
                        self.supervisor.retire_behind(worker)
                    leases = []
                    leases = self._lease(worker)
                    worker.feeding = bool(leases)
            except BaseException:
                with self.lock:
                    self._take_back(worker, [lease for lease in leases if lease.number in worker.leases])
                    worker.feeding = False
                    self.on_free(worker)
                raise

    def _lease(self, worker: Worker) -> list[Lease]:
        """The next batch for a worker. With the lock."""
        backlog = self.backlog.seen_by(worker)
        task = backlog.head()
        if task is None:
            return []
        room = self._room(worker)
        share = self._share(worker, task)
        leases: list[Lease] = []
        while task is not None and room > 0 and share > 0 and len(leases) < _BATCH:
            key = task.estimate_key()
            seconds = self.estimates.get(key)
            if worker.leases and worker.in_hand + _cost(task, seconds) > WINDOW:
                break
            most = 1
            if seconds is not None and (task.splits or seconds < QUICK):
                each = seconds + RUN_OVERHEAD
                fits = int(min(WINDOW - worker.in_hand, WINDOW / 2) / each)
                grain = int(_GRAIN / each)
                if worker.leases and fits < grain:
                    break
                most = max(1, min(fits, max(share, grain), room))
            task = backlog.take(most)
            if task.start():
                size = task.size()
                leases.append(self._lease_one(worker, task, key, _cost(task, seconds) * size))
                worker.tasks_leased += size
                room -= size
                share -= size
            task = backlog.head()
        if leases:
            self.crowd.note_lease(worker)
            if worker.state is WorkerState.IDLE:
                worker.state = WorkerState.BUSY
                self.supervisor.idle.pop(worker.id, None)
            if len(worker.leases) > 1 or leases[0].task.size() > 1:
                self.revocation.mind_progress(worker)
            self.watch.mind_memory()
        return leases

    def _lease_one(self, worker: Worker, task: Task, key: Any, cost: float) -> Lease:
        number = worker.next_lease
        if needed := task.options.requirement:
            lease: Lease = HoldingLease(number, task, key, cost, self.tokens.take(needed))
        else:
            lease = Lease(number, task, key, cost)
        worker.next_lease = number + 1
        worker.leases[number] = lease
        worker.in_hand += cost
        task.lease = worker, number
        if task.options.watched:
            self.watch.arm(worker, task.options)
        return lease

    def _room(self, worker: Worker) -> int:
        """How many more calls the worker may be leased, apart from the window. With the lock."""
        if worker.state not in _SERVING or worker.revoked is not None or worker.kill_error is not None:
            return 0
        if worker.channel is None or worker.channel.eof:
            return 0
        if (worker.leases and worker.retire_reason is not None) or self.supervisor.retire_if_due(worker):
            return 0
        tasks = self.settings.quota.tasks
        if tasks is None:
            return 1 << 30
        room = tasks - worker.tasks_leased
        if room <= 0 or worker.tasks_leased >= tasks // 2:
            self.loop.call_soon(self.supervisor.start_needed)  # its successor is to be warm in time
        return max(room, 0)

    def _share(self, worker: Worker, task: Task) -> int:
        """How much of what is pending the worker may take now: others are to have something too. With the lock.

        ``task`` is the first that is pending.
        """
        workers = self.crowd.workers_for(task)
        if workers == 1:
            return 1 << 20
        in_hand = worker.tasks_leased - worker.tasks_done if worker.leases else 0
        return max((self.backlog.count() + in_hand) // workers - in_hand, 0 if worker.leases else 1)

    def _encode(self, worker: Worker, leases: list[Lease]) -> tuple[list[tuple[Any, ...]], list[int]]:
        """The calls of a batch, with their descriptors; what cannot be pickled fails alone. Without the lock."""
        calls: list[tuple[Any, ...]] = []
        fds: list[int] = []
        tracer = self.tracer
        began = monotonic_ns() if tracer is not None else 0
        for lease in leases:
            try:
                call, own = lease.task.encode(lease.number)
            except BaseException as error:
                if reaches_here(error):
                    close_all(fds)
                    raise
                lease.task.note_unpicklable(error)
                self._fail_unsent(worker, lease, error)
                continue
            if tracer is not None:
                tracer.sent(lease, call, own)
            if own:
                self._mind_depot()
                if len(fds) + len(own) > MAX_DESCRIPTORS and fds:
                    with self.lock:
                        self._post(worker, calls, fds)
                    calls, fds = [], []
                fds += own
            calls.append(call)
        if tracer is not None:
            tracer.pickled(began, len(leases))
        return calls, fds

    def _mind_depot(self) -> None:
        """What large arguments were sent in does not stay in memory for ever. Any thread."""
        if depot and not self._depot_due:
            self._depot_due = True
            self.loop.call_at(monotonic() + KEEP, self._release_depot)

    def _release_depot(self) -> None:
        self._depot_due = False
        depot.release(KEEP)
        self._mind_depot()

    def _post(self, worker: Worker, calls: list[tuple[Any, ...]], fds: list[int]) -> None:
        """With the lock."""
        if worker.state is WorkerState.DEAD:
            close_all(fds)
            return
        if self.settings.forward_logging:
            _log_handling.tell(worker)
        if not worker.post_calls(calls, fds, look=self.crowd.leaves_a_core()):
            self.supervisor.mind_output(worker)

    def _fail_unsent(self, worker: Worker, lease: Lease, error: BaseException) -> None:
        with self.lock:
            if lease.number not in worker.leases:
                return
            worker.drop(lease)
            worker.tasks_leased -= lease.task.size()
            singles = lease.task.singles()
            if len(singles) > 1:  # a run: which of its items it is shows when each goes alone
                self.backlog.give_back(singles)
            else:
                lease.task.fail(error)
                self.resolve(lease.task, failed=True)
            self.rest(worker)
        self.loop.wake()

    def _take_back(self, worker: Worker, leases: list[Lease]) -> None:
        """Leases that were never sent. With the lock."""
        for lease in leases:
            worker.drop(lease)
            worker.tasks_leased -= lease.task.size()
            lease.task.lease = None
        self.backlog.give_back(task for lease in leases for task in lease.task.parts())
        self.rest(worker)

    def rest(self, worker: Worker) -> None:
        """The worker has no leases any more: it is idle, or its time has come. With the lock."""
        if worker.leases:
            return
        worker.settle_revocation()  # what it had not been sent may have been the last of the range
        if worker.state is not WorkerState.BUSY:
            return
        worker.state = WorkerState.IDLE
        worker.tasks_leased = worker.tasks_done  # not so where one error was the outcome of a whole run
        if worker.kill_error is None and not self.supervisor.retire_if_due(worker):
            self.supervisor.idle[worker.id] = worker
            self.watch.on_idle(worker)

    # --- what comes back ------------------------------------------------------------------------------------

    def on_frames(self, worker: Worker, *, last: bool = False) -> None:
        channel = worker.channel
        assert channel is not None
        self.unread[worker.id] = worker
        while channel.frames:
            if self._notes and not self._handle_notes() and not last:
                return
            if not channel.frames:
                break
            frame = channel.frames[0]
            records = read_records(worker, *frame, self._notes, self.tracer)
            if self._notes:  # what a task has logged is handled before its outcome is there
                if not self._handle_notes() and not last:
                    return  # the frame is read again; one with log records in it has no descriptors
                if not channel.frames or channel.frames[0] is not frame:
                    continue  # a handler waited for something, led the loop, and so has settled this
            self._settle(worker, records)
            channel.frames.popleft()
        if last:
            self.settle_unsent(worker, worker.unsent_outcomes())
        self.unread.pop(worker.id, None)

    def _settle(self, worker: Worker, records: list[Record]) -> None:
        leases = worker.leases
        learn = self.estimates.learn
        with self.lock:
            self.crowd.note_return()
            tracer = self.tracer
            durations = self.durations
            observed = self.observed()
            for record in records:
                word, kind, value, error, started, duration, _, size = record
                if not word:
                    self._on_note(worker, kind, value, error)
                    continue
                number = word & LOW
                lease = leases.get(number)
                if lease is None:
                    worker.reclaimed.discard(number)
                    continue
                task = lease.task
                sentenced = worker.sentenced
                if sentenced is not None and number == sentenced[0] and word >> 32 >= sentenced[1]:
                    continue  # too late: its time was over, or it was stopped, before
                if is_series(kind):
                    if sentenced is not None and number == sentenced[0]:
                        del value[sentenced[1] - (word >> 32) :]
                    self._settle_series(worker, lease, record)
                    continue
                if kind == Kind.SKIPPED:
                    rest = task.cut(word >> 32)
                    worker.drop(lease)
                    task.lease = None
                    if rest is not None:
                        worker.tasks_leased -= rest.size()
                        worker.returned.append(rest)
                    if rest is not task and not task.is_open():
                        self.resolve(task, failed=False)
                    continue
                done = task.outcome(word >> 32, value, error)
                if done is None:
                    continue  # it was read from the outcome area before
                seconds = duration / 1e9
                learn(lease.key, seconds)
                self._mean += (seconds - self._mean) / 16
                worker.tasks_done += 1
                if observed:
                    if durations is not None:
                        durations.add(duration)
                    if tracer is not None:
                        tracer.outcome(worker, lease, word >> 32, error, started, duration, size)
                call = task.at(word >> 32)
                if call is not task:
                    self.resolve(call, failed=error is not None)
                if done:
                    worker.drop(lease)
                    self.resolve(task, failed=error is not None)
            if records and records[-1][0]:
                if not self.usable and self._crash is None:
                    self.broken = None
                    self.usable = True
                self.supervisor.worked()
            if worker.revoked is not None:
                worker.settle_revocation()
            if worker.returned and worker.revoked is None:
                self.give_back(worker.take_returned())
            self.rest(worker)
            self.hungry[worker.id] = worker

    def _settle_series(self, worker: Worker, lease: Lease, record: Record) -> None:
        """The results of consecutive items of a run. With the lock."""
        word, kind, values, _, started, duration, ends, size = record
        if not values:
            return
        run: Any = lease.task
        item, total = word >> 32, len(values)
        each = duration // total
        known = run.done
        count = run.outcomes(item, values, plain=kind != Kind.PICKLES)
        if count and duration:
            self.estimates.learn_mean(lease.key, each / 1e9, total)
            self._mean += (each / 1e9 - self._mean) / 16
        worker.tasks_done += count
        if count and self.observed():
            if ends is None:  # nobody wanted to know when the run was leased
                ends = [started + each * number for number in range(1, total + 1)]
            if known > item:
                started = ends[known - item - 1]
            self._observe(worker, lease, known, started, ends[known - item : total], size // total)
        if not run.counts:
            for number in range(known, known + count):
                self.resolve(run.at(number), failed=False)
        if count and not run.is_open():
            worker.drop(lease)
            self.resolve(run, failed=False)

    def _observe(self, worker: Worker, lease: Lease, first: int, started: int, ends: list[int], size: int) -> None:
        """Consecutive items of a run, from the first on, have returned at these times. With the lock."""
        if self.tracer is not None:
            self.tracer.outcomes(worker, lease, first, started, ends, size)
        if self.durations is not None:
            for ended in ends:
                self.durations.add(ended - started)
                started = ended

    def observed(self) -> bool:
        """Whether somebody wants to know how long each task takes."""
        return self.tracer is not None or self.durations is not None

    def settle_unsent(self, worker: Worker, outcomes: bytes) -> None:
        records = read_records(worker, outcomes, [], self._notes, self.tracer)
        if self._notes:
            self._handle_notes()
        self._settle(worker, records)

    def _handle_notes(self) -> bool:
        """Handle the log records that were read, without the lock: this is the user's code. False if it is left to
        the loop's own thread, as callbacks are.
        """
        if self.loop.polling:
            self.loop.hand_back()
            return False
        if not self._handling:  # or this is a turn that a handler leads while it waits; it goes on with the rest
            self._handling = True
            try:
                _log_handling.handle(self._notes)
            finally:
                self._handling = False
        return True

    def _on_note(self, worker: Worker, kind: int, value: Any, error: BaseException | None) -> None:
        if kind == Kind.FAILED and error is not None:
            failure = InitializerError(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            worker.initializer_error = failure
        if kind == Kind.NOTE and error is None:
            tag, number, *facts = value
            lease = worker.leases.get(number)
            if tag == "progress" and lease is not None:
                lease.task.note_progress(*facts)
        self.supervisor.on_note(worker, kind)

    def resolve(self, task: Task, *, failed: bool) -> None:
        """Book a task that has just been settled. With the lock."""
        if self.tracer is not None:
            self.tracer.resolved(task)
        if task.counts:
            task.session.on_resolved(task, failed)
        if task.has_callbacks():
            self._resolved.append(task)

    def give_back(self, tasks: list[Task]) -> None:
        """To the front of the queue: another worker may take them now. With the lock."""
        tasks = [part for task in tasks for part in task.parts()]
        recalled = self.revocation.recalled
        for task in tasks:
            if task.session.abandoned or task in recalled:
                task.mark_cancelled()
                self.resolve(task, failed=False)
        self.backlog.give_back(task for task in tasks if task.is_open())
        for worker in self.supervisor.idle.values():
            self.hungry[worker.id] = worker

    def _end_of_turn(self) -> None:
        """Feed the workers that may take more, start what is needed, call back."""
        if self.unread:
            for worker in list(self.unread.values()):
                if worker.state is not WorkerState.DEAD:
                    self.on_frames(worker)
        if self._notes:
            self._handle_notes()
        while self.hungry:
            with self.lock:
                if not self.backlog:  # what is submitted from here on finds the idle ones, or the busy ones come again
                    self.hungry.clear()
                hungry = next(reversed(self.hungry.values()), None)
            if hungry is not None:
                self.feed(hungry)
        if self.loop.polling:
            if self._resolved or any(session.has_orphaned_callbacks() for session in list(self.sessions)):
                self.loop.hand_back()
            return
        self.call_back()
        for session in list(self.sessions):
            session.run_orphaned_callbacks()

    def call_back(self) -> None:
        """Run the callbacks of what was settled. Any thread, without the lock."""
        resolved = self._resolved
        while resolved:
            try:
                task = resolved.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                tracer = self.tracer
                if tracer is None:
                    task.after()
                else:
                    tracer.called_back(task)
            except BaseException:  # Ctrl-C: the rest of its callbacks is not lost
                resolved.appendleft(task)
                self.loop.wake()
                raise

    # --- failures -------------------------------------------------------------------------------------------

    def on_exit(self, worker: Worker, error: WorkerLost) -> bool:
        """A worker has gone. With the lock. True if a running task explains it."""
        if worker.initializer_error is not None:  # only now: what it has logged has gone out before it ended
            self._try_again_at = monotonic() + _FAIL_FAST
            self.fail_pending(worker.initializer_error)
        if self.tracer is not None:
            self.tracer.ended(worker)
        explained = settle_leases(self, worker, error)
        self.hungry.pop(worker.id, None)
        self.unread.pop(worker.id, None)
        return explained

    def fail_pending(self, error: BaseException) -> None:
        """Whatever is pending fails with this. With the lock."""
        self.broken = error
        self.usable = False
        for task in self.backlog.drain():
            task.fail(copy_of(error))
            self.resolve(task, failed=True)
        for session in self.sessions:
            session.wake()
        self.loop.wake()

    def on_worker_gone(self) -> None:
        if self._stopping and not self.supervisor.workers:
            self._end()
        for parked in self.waiters:
            parked.wake()

    def _crashed(self, error: BaseException) -> None:
        """The loop must not die in silence: whatever escapes fails every future with the cause."""
        import logging

        logging.getLogger("executor").critical("the executor's loop has failed", exc_info=error)
        with self.lock:
            self._crash = error
            self.usable = False
            failure = RuntimeError("the executor's loop has failed")
            failure.__cause__ = error
            for worker in list(self.supervisor.workers.values()):
                for lease in list(worker.leases.values()):
                    worker.drop(lease)
                    if lease.task.is_open():
                        lease.task.fail(failure)
                        self.resolve(lease.task, failed=True)
                self.supervisor.kill(worker, None)
                worker.discard()
            self.supervisor.workers.clear()
            self.fail_pending(failure)
            for session in self.sessions:
                session.outstanding = 0
                session.wake()
            self.loop.close()
        self.call_back()
        self._end_observers()

    # --- ending ---------------------------------------------------------------------------------------------

    def end_trace(self) -> None:
        """Write what is being traced, if anything is. Any thread."""
        tracer = self.tracer
        if tracer is not None:
            from ._recording import stop_trace

            stop_trace(self, tracer)

    def _end_observers(self) -> None:
        self.end_trace()
        if self.monitored:
            from ._monitor import forget

            forget(self)

    def stop(self) -> None:
        """Retire the workers; the loop ends when the last has gone. Any thread, without the lock."""
        with self.lock:
            self._stopping = True
            self.supervisor.stop()
            if not self.supervisor.workers:
                self._end()
        self.loop.wake()

    def _end(self) -> None:
        """The last worker has gone. What initializers were given is not to wait for the garbage collector."""
        self._end_observers()
        self.settings.release()
        depot.release()
        self.loop.close()
        if not self._started:
            self.loop.free()  # there is no thread that would do it when it ends

    def is_stopped(self) -> bool:
        return not self.supervisor.workers

    def join(self) -> None:
        """Wait until all workers have gone and the loop's thread has ended."""
        if not self._started:
            self.loop.free()
            return
        self.loop.wait(lambda: self.loop.closed or self.is_stopped(), None, lambda: self.waiters)
        if threading.current_thread() is not self.loop.thread:
            self.loop.thread.join()
        _log_handling.handle(self._notes)  # what a thread that only polled had left to the loop's

    def after_fork_in_child(self) -> None:
        """The workers are the parent's: whoever uses this engine here is told so (`_forksafety`)."""
        self.forked = True
        self.usable = False
        self.tracer = None
        self.lock = self.loop.lock = threading.RLock()
        self.loop.after_fork_in_child()
        for worker in self.supervisor.workers.values():
            worker.after_fork_in_child()
        for session in self.sessions:
            session.lock = self.lock


def _cost(task: Task, seconds: float | None) -> float:
    """What a call of the task takes of a worker's window, by the estimate."""
    return WINDOW if seconds is None else seconds + task.overhead
