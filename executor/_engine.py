"""Brings tasks and workers together: what is submitted, what is leased, what comes back.

    submit ▸ Backlog ─lease▸ Worker ═════▸ the worker process
    settle ◂ records ◂ Channel ◂═════

Any thread submits, cancels and feeds a worker (writes calls to its socket); only the loop's leader reads. State is
guarded by ``lock``; user code (pickling, callbacks) never runs with it held.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from functools import partial
from time import monotonic

from ._backlog import Backlog
from ._channel import MAX_DESCRIPTORS
from ._errors import InitializerError, WorkerLost
from ._exceptions import load_exception
from ._forksafety import on_fork_in_child
from ._loop import Loop
from ._messages import HEADER, Kind, pad
from ._pickling import decode_parcel
from ._policy import Estimates
from ._status import ITEM
from ._supervisor import Supervisor
from ._watch import Watch
from ._worker import Lease, Worker, WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ._session import Session
    from ._settings import Settings
    from ._task import Task

    Record = tuple[int, int, Any, BaseException | None, int, int]

__all__ = ["Engine"]

WINDOW = 0.004  # seconds of work that a worker may have in hand
_BATCH = 64  # calls in one message: the worker begins while the next are encoded
_POLL_EVERY = 64  # submits by a thread that does nothing else: it has to keep the workers fed itself
_STUCK_AFTER = 0.003  # seconds after which the leases behind a running task are taken back
_REVOKE_PAUSE = 0.001  # seconds; longer than any store buffer holds a write
_FAIL_FAST = 1.0  # seconds after an initializer has raised in which a submit fails at once instead of trying again
_LOW = 0xFFFFFFFF


class Engine:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = Loop("executor-loop", self._end_of_turn, self._crashed)
        self.lock = self.loop.lock
        self.backlog = Backlog()  # guarded by lock, as all below
        self.estimates = Estimates()
        self.supervisor = Supervisor(self.loop, settings, self)
        self.watch = Watch(self.loop, settings, self.supervisor)
        self.sessions: set[Session] = set()
        self.retried = 0
        self.forked = False
        self._mean = 0.01  # seconds a task takes, moving average
        self._resolved: deque[Task] = deque()  # their callbacks are due
        self._hungry: dict[int, Worker] = {}  # workers that may take more
        self._unread: dict[int, Worker] = {}  # workers whose frames are not handled yet
        self.broken: BaseException | None = None  # why no worker can be had, until one can
        self.usable = True  # False: `check_usable` has something to say
        self._try_again_at = 0.0
        self._crash: BaseException | None = None
        self.owner_pid = os.getpid()
        self.waiters: list[Any] = []  # who waits for the workers to go
        self._submits = 0
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
                self.backlog.add(task)
            if not self._started:
                self.start()
            worker = next(reversed(supervisor.idle.values()), None)
            grow = worker is None and supervisor.may_grow() and supervisor.wants_worker()
            if grow and self.settings.forks_here:
                supervisor.start_needed()
                grow = False
        if worker is not None:
            self.feed(worker)
            if supervisor.may_grow():
                with self.lock:
                    grow = bool(self.backlog) and supervisor.wants_worker()
                if grow:
                    self.loop.call_soon(supervisor.start_needed)
        elif grow:
            self.loop.call_soon(supervisor.start_needed)
        else:
            self._submits += 1
            if not self._submits % _POLL_EVERY:
                self.loop.poll()

    def check_usable(self) -> None:
        """Raise if the loop has failed, or workers have just failed to be initialised. With the lock."""
        if self._crash is not None:
            raise RuntimeError("the executor's loop has failed") from self._crash
        if self.broken is not None and monotonic() < self._try_again_at:
            raise _copy_of(self.broken)

    def demand(self) -> int:
        return self.backlog.count()

    def task_seconds(self) -> float:
        return self._mean

    # --- leasing --------------------------------------------------------------------------------------------

    def feed(self, worker: Worker) -> None:
        """Lease to the worker what fits its window. Any thread, without the lock."""
        leases: list[Lease] = []
        with self.lock:
            if worker.feeding:
                return  # that thread goes on until nothing fits
            worker.feeding = True
        try:
            while True:
                with self.lock:
                    leases = self._lease(worker)
                    if not leases:
                        worker.feeding = False
                        return
                self._send(worker, leases)
                leases = []
        except BaseException:
            with self.lock:
                self._take_back(worker, [lease for lease in leases if lease.number in worker.leases])
                worker.feeding = False
            raise

    def _lease(self, worker: Worker) -> list[Lease]:
        """The next batch for a worker. With the lock."""
        room = self._room(worker)
        if not room:
            return []
        leases: list[Lease] = []
        share = 0
        while len(leases) < _BATCH and room > 0:
            task = self.backlog.head()
            if task is None:
                break
            key = task.estimate_key()
            seconds = self.estimates.get(key)
            cost = WINDOW if seconds is None else seconds + task.overhead
            if worker.leases and worker.in_hand + cost > WINDOW:
                break
            share = share or self._share()
            if share <= len(leases):
                break
            size = task.size()
            if task.splits:
                fits = int(min(WINDOW - worker.in_hand, WINDOW / 2) / cost) if seconds is not None else 1
                task = task.portion(max(1, min(fits, share - len(leases), room)))
                size = task.size()
            else:
                self.backlog.take()
            cost *= size
            if not task.start():
                continue
            number = worker.next_lease
            lease = Lease(number, task, key, cost)
            worker.next_lease = number + 1
            worker.leases[number] = lease
            worker.in_hand += cost
            worker.tasks_leased += size
            room -= size
            task.lease = worker, number
            leases.append(lease)
            if task.options.watched:
                self.watch.arm(worker, task.options)
        if leases:
            if worker.state is WorkerState.IDLE:
                worker.state = WorkerState.BUSY
                self.supervisor.idle.pop(worker.id, None)
            self._mind_progress(worker)
            self.watch.mind_memory()
        return leases

    def _room(self, worker: Worker) -> int:
        """How many more calls the worker may be leased, apart from the window. With the lock."""
        if worker.state not in (WorkerState.IDLE, WorkerState.BUSY) or worker.revoked is not None:
            return 0
        if worker.kill_error is not None or (worker.leases and worker.retire_reason is not None):
            return 0
        if worker.channel is not None and worker.channel.eof:
            return 0
        if self.supervisor.retire_if_due(worker):
            return 0
        tasks = self.settings.quota.tasks
        if tasks is None:
            return 1 << 30
        room = tasks - worker.tasks_leased
        if room <= 0 or worker.tasks_leased >= tasks // 2:
            self.loop.call_soon(self.supervisor.start_needed)  # its successor is to be warm in time
        return max(room, 0)

    def _share(self) -> int:
        """No worker takes so much that others have nothing. With the lock."""
        workers = len(self.supervisor.workers)
        return max(1, self.backlog.count() // workers) if workers > 1 else 1 << 20

    def _send(self, worker: Worker, leases: list[Lease]) -> None:
        """Encode and write a batch; what cannot be pickled fails alone. Without the lock."""
        calls: list[tuple[Any, ...]] = []
        fds: list[int] = []
        for lease in leases:
            try:
                call, own = lease.task.encode(lease.number)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) and _in_main_thread():
                    _close_all(fds)
                    raise
                lease.task.note_unpicklable(error)
                self._fail_unsent(worker, lease, error)
                continue
            if fds and len(fds) + len(own) > MAX_DESCRIPTORS:
                self._post(worker, calls, fds)
                calls, fds = [], []
            calls.append(call)
            fds += own
        if calls:
            self._post(worker, calls, fds)

    def _post(self, worker: Worker, calls: list[tuple[Any, ...]], fds: list[int]) -> None:
        with self.lock:
            if worker.state is WorkerState.DEAD:
                _close_all(fds)
                return
            self.supervisor.mind_output(worker, worker.post_calls(calls, fds))

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
            self._rest(worker)
        self.loop.wake()

    def _take_back(self, worker: Worker, leases: list[Lease]) -> None:
        """Leases that were never sent. With the lock."""
        for lease in leases:
            worker.drop(lease)
            worker.tasks_leased -= lease.task.size()
            lease.task.lease = None
        self.backlog.give_back(lease.task for lease in leases)
        self._rest(worker)

    def _rest(self, worker: Worker) -> None:
        """The worker has no leases any more: it is idle, or its time has come. With the lock."""
        if worker.leases or worker.state is not WorkerState.BUSY:
            return
        worker.state = WorkerState.IDLE
        if worker.kill_error is None and not self.supervisor.retire_if_due(worker):
            self.supervisor.idle[worker.id] = worker
            self.watch.on_idle(worker)

    # --- what comes back ------------------------------------------------------------------------------------

    def on_frames(self, worker: Worker, *, last: bool = False) -> None:
        assert worker.channel is not None
        self._unread[worker.id] = worker
        frames = worker.channel.frames
        while frames:
            body, fds = frames[0]
            self._settle(worker, self._read(worker, body, fds))
            frames.popleft()
        if last:
            self._settle(worker, self._read(worker, worker.unsent_outcomes(), []))
        self._unread.pop(worker.id, None)

    def _read(self, worker: Worker, body: bytes | memoryview, fds: list[int]) -> list[Record]:
        """Decode records. Without the lock: loading runs user code."""
        records: list[Record] = []
        at, end = 0, len(body)
        leases = worker.leases
        loads = pickle.loads
        while at < end:
            word, meta, started, duration = HEADER.unpack_from(body, at)
            size = meta >> 8
            data = body[at + 32 : at + 32 + size]
            at += 32 + pad(size)
            kind = meta & 0x7F
            if word and word & _LOW not in leases and kind != Kind.SKIPPED:
                continue  # it was given up: timed out, cancelled
            value = error = None
            try:
                if kind == Kind.RETURNED:
                    value = decode_parcel(data, fds) if meta & Kind.PARCEL else loads(data)
                elif kind in (Kind.RAISED, Kind.FAILED):
                    error = load_exception(data)
                elif kind == Kind.NOTE:
                    value = loads(data)
            except BaseException as failure:
                if isinstance(failure, KeyboardInterrupt) and _in_main_thread():
                    raise
                error = failure
                error.add_note("raised while the result of a task was loaded")
            records.append((word, kind, value, error, started, duration))
        return records

    def _settle(self, worker: Worker, records: list[Record]) -> None:
        leases = worker.leases
        learn = self.estimates.learn
        returned: list[Task] = []
        with self.lock:
            for word, kind, value, error, _, duration in records:
                if not word:
                    self._on_note(worker, kind, value, error)
                    continue
                number = word & _LOW
                lease = leases.get(number)
                if lease is None:
                    worker.reclaimed.discard(number)
                    continue
                task = lease.task
                sentenced = worker.sentenced
                if sentenced is not None and number == sentenced[0] and word >> 32 >= sentenced[1]:
                    continue  # too late: its time was over, or it was stopped, before
                if kind == Kind.SKIPPED:
                    rest = task.cut(word >> 32)
                    worker.drop(lease)
                    task.lease = None
                    if rest is not None:
                        returned.append(rest)
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
                if done:
                    worker.drop(lease)
                    self.resolve(task, failed=error is not None)
            if returned:
                self._give_back(returned)
            if records and records[-1][0]:
                if not self.usable and self._crash is None:
                    self.broken = None
                    self.usable = True
                self.supervisor.worked()
            if worker.revoked is not None:
                worker.settle_revocation()
            self._rest(worker)
            self._hungry[worker.id] = worker

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
        task.session.on_resolved(task, failed)
        if task.has_callbacks():
            self._resolved.append(task)

    def _give_back(self, tasks: list[Task]) -> None:
        """To the front of the queue: another worker may take them now. With the lock."""
        tasks = [task for task in tasks if task.is_open()]
        for task in tasks:
            if task.session.abandoned:
                task.mark_cancelled()
                self.resolve(task, failed=False)
        self.backlog.give_back(task for task in tasks if task.is_open())
        for worker in self.supervisor.idle.values():
            self._hungry[worker.id] = worker

    def _end_of_turn(self) -> None:
        """Feed the workers that may take more, start what is needed, call back."""
        for worker in list(self._unread.values()):
            if worker.state is not WorkerState.DEAD:
                self.on_frames(worker)
        while self._hungry:
            worker = next(reversed(self._hungry.values()))
            self.feed(worker)
            with self.lock:
                self._hungry.pop(worker.id, None)
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
                task.after()
            except BaseException:  # Ctrl-C: the rest of its callbacks is not lost
                resolved.appendleft(task)
                self.loop.wake()
                raise

    # --- taking back ----------------------------------------------------------------------------------------

    def _mind_progress(self, worker: Worker) -> None:
        """A worker that holds several leases may turn out to be busy with a long one. With the lock."""
        if not worker.progress_due and (len(worker.leases) > 1 or self._holds_run(worker)):
            worker.progress_due = True
            self.loop.call_at(monotonic() + _STUCK_AFTER, partial(self._check_progress, worker))

    @staticmethod
    def _holds_run(worker: Worker) -> bool:
        return any(lease.task.size() > 1 for lease in worker.leases.values())

    def _check_progress(self, worker: Worker) -> None:
        with self.lock:
            worker.progress_due = False
            if worker.state not in (WorkerState.BUSY, WorkerState.RETIRING):
                return
            running = worker.running()
            if running is None or worker.revoked is not None:
                self._mind_progress(worker)
                return
            due = worker.running_since() + _STUCK_AFTER
            if monotonic() < due:
                if len(worker.leases) > 1 or running.task.size() > 1:
                    worker.progress_due = True
                    self.loop.call_at(due, partial(self._check_progress, worker))
                return
        self._take_over(worker)

    def _take_over(self, worker: Worker) -> None:
        """The worker is stuck in a long task: read the outcomes it has not sent, take back what it has not begun."""
        began = worker.running_since()
        unsent = worker.unsent_outcomes()
        # Nothing is written to the area while a task runs: if it is the same one still, what was read is whole.
        if unsent and worker.running_since() == began:
            self.supervisor.receive(worker)  # outcomes that were sent come before those that were not
            self._settle(worker, self._read(worker, unsent, []))
        with self.lock:
            self._revoke(worker)

    def _revoke(self, worker: Worker) -> None:
        """With the lock."""
        if worker.state is not WorkerState.DEAD and worker.revoke():
            self.loop.call_at(monotonic() + _REVOKE_PAUSE, partial(self._reclaim, worker))

    def _reclaim(self, worker: Worker) -> None:
        with self.lock:
            if worker.state is WorkerState.DEAD or worker.revoked is None:
                return
            self._give_back(worker.reclaim())
            self._rest(worker)
            self._hungry[worker.id] = worker  # it could take nothing while its range was not settled
        self.loop.call_soon(self.supervisor.start_needed)

    # --- cancelling -----------------------------------------------------------------------------------------

    def cancel(self, task: Any) -> bool:
        """Cancel a future. Any thread, without the lock."""
        with self.lock:
            leased = task.lease is not None and task.is_open()
            worker = task.lease[0] if leased else None
        if worker is not None:
            self._hold_back(task, worker)
        with self.lock:
            if not task.is_open():
                cancelled: bool = task.cancelled()
                return cancelled
            if task.lease is not None and not (task.options.cancel_running and self._stop(task)):
                return False
            task.mark_cancelled()
            self.resolve(task, failed=False)
        self.loop.wake()
        self.call_back()
        return True

    def _hold_back(self, task: Any, worker: Worker) -> None:
        """Wait, about a millisecond, until a leased task has either begun or been taken back."""
        with self.lock:
            if task.lease is None or task.lease[1] <= worker.words_running():
                return
            self._revoke(worker)
        waiters = task.session.waiters

        def settled() -> bool:
            lease = task.lease
            return lease is None or lease[0] is not worker or lease[1] <= worker.words_running() or not task.is_open()

        self.loop.wait(settled, monotonic() + 1.0, lambda: waiters)

    def _stop(self, task: Any) -> bool:
        """Kill the worker that runs this task. With the lock."""
        worker, number = task.lease
        if worker.state is WorkerState.DEAD or worker.words_running() != number:
            return False
        worker.sentenced = number, worker.words[ITEM]
        worker.revoke()
        self.supervisor.kill(worker, _Stopped())
        return True

    def cancel_pending(self, session: Session, *, keep: bool = False) -> None:
        """Cancel what a session has pending. Any thread, without the lock.

        ``keep``: but for as many tasks as there are workers free or on their way, which are theirs as good as begun.
        """
        with self.lock:
            session.abandoned = session.abandoned or not keep
            session.starts_waiting = False
            kept: list[Task] = []
            busy = sum(worker.state is WorkerState.BUSY for worker in self.supervisor.workers.values())
            free = self.settings.max_workers - busy
            for task in self.backlog.drain():
                if task.session is session and not (keep and len(kept) < free):
                    task.mark_cancelled()
                    self.resolve(task, failed=False)
                else:
                    kept.append(task)
            for task in kept:
                self.backlog.add(task)
            for worker in self.supervisor.workers.values():
                if len(worker.leases) > 1:
                    self._revoke(worker)
        self.loop.wake()
        self.call_back()

    # --- losses ---------------------------------------------------------------------------------------------

    def on_exit(self, worker: Worker, error: WorkerLost) -> bool:
        """Settle the leases of a worker that has gone. With the lock. True if a running task explains it."""
        if worker.initializer_error is not None:  # only now: what it has logged has gone out before it ended
            self._try_again_at = monotonic() + _FAIL_FAST
            self.fail_pending(worker.initializer_error)
        running = worker.running()
        sentenced = worker.sentenced
        returned: list[Task] = []
        for lease in list(worker.leases.values()):
            worker.drop(lease)
            lease.task.lease = None
            if sentenced is not None and lease.number == sentenced[0]:
                running, item, final = lease, sentenced[1], worker.kill_error or error
            elif lease is running:
                item = worker.words[ITEM]
                # Where it was killed on account of another task, this one had just begun after it.
                final = error if sentenced is not None or worker.kill_error is None else worker.kill_error
            else:
                returned.append(lease.task)
                continue
            lost, rest = lease.task.isolate(item)
            self._lost(worker, lost, final)
            if rest is not None:
                returned.append(rest)
        self._give_back(returned)
        self._hungry.pop(worker.id, None)
        self._unread.pop(worker.id, None)
        return running is not None

    def _lost(self, worker: Worker, task: Task, final: BaseException) -> None:
        """The worker ended while it ran this task: run it again, or say so. With the lock."""
        if not task.is_open():
            return
        if isinstance(final, _Stopped):
            task.mark_cancelled()
            self.resolve(task, failed=False)
            return
        task.attempts = (*task.attempts, _attempt(worker, final))
        options = task.options
        if len(task.attempts) <= options.retries and (isinstance(final, WorkerLost) or options.retry_on_timeout):
            self.retried += 1
            self._give_back([task])
            return
        if isinstance(final, WorkerLost):
            final.task = task.name()
            final.attempts = task.attempts
            final.pid, final.worker = worker.pid or 0, worker.name
        task.fail(final)
        self.resolve(task, failed=True)

    def fail_pending(self, error: BaseException) -> None:
        """Whatever is pending fails with this. With the lock."""
        self.broken = error
        self.usable = False
        for task in self.backlog.drain():
            task.fail(_copy_of(error))
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

    # --- ending ---------------------------------------------------------------------------------------------

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
        self.settings.release()
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

    def after_fork_in_child(self) -> None:
        """The workers are the parent's: whoever uses this engine here is told so (`_forksafety`)."""
        self.forked = True
        self.lock = self.loop.lock = threading.RLock()
        self.loop.after_fork_in_child()
        for worker in self.supervisor.workers.values():
            worker.after_fork_in_child()
        for session in self.sessions:
            session.lock = self.lock


class _Stopped(Exception):
    """The running task was cancelled."""


def _attempt(worker: Worker, error: BaseException) -> Any:
    from ._errors import Attempt, describe_exit

    if isinstance(error, WorkerLost):
        cause = error._how()
    else:
        cause = type(error).__name__
    return Attempt(worker.pid or 0, cause or describe_exit(worker.exitcode))


def _copy_of(error: BaseException) -> BaseException:
    """One exception for each future: a traceback belongs to one raise."""
    import copy

    try:
        twin = copy.copy(error)
    except Exception:
        return error
    twin.__cause__ = error.__cause__
    return twin


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
