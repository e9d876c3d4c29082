"""Semaphores of multiprocessing and loky, from which their locks, events, conditions and queues are made.

Each is one page of a file in shared memory, and is known by that file (device and inode).

- One made under "spawn", "forkserver" or loky has a name, so the file can be opened. The descriptor travels,
  and the receiver maps the file: it has the semaphore itself, for as long as it likes, whatever becomes of
  the name and the maker.
- One made under "fork" loses its name, and multiprocessing its descriptor, as soon as it is made: the kernel
  lets only forked children have it. A worker that was forked later finds it among its own pages. For any
  other worker the process that has it serves it (`_shareable_remote`).

Either way the receiver gets an object of the same class, and the same object when it has it already: a lock
that a task returns is in the parent the very lock that was sent.
"""

from __future__ import annotations

import os
import weakref
from _multiprocessing import SemLock  # type: ignore[import-not-found]  # typeshed has no stub
from multiprocessing import util

from ._shareable_broker import serve
from ._shareable_descriptors import NotShareable, OwnedDescriptor, attach, take
from ._shareable_pages import file_at, find_page, free_page, page_like, page_of
from ._shareable_remote import Lobby, RemoteSemLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._shareable_pages import FileId

    Facts = tuple[FileId, str | None, bool]

__all__ = ["Link", "reduce_lock"]

_SEMAPHORE = 1  # as in multiprocessing.synchronize


class Link:
    """How a semaphore is passed on: its file, or the lobby of the process that serves it."""

    def __init__(self, descriptor: int, facts: Facts) -> None:
        self._descriptor = OwnedDescriptor(descriptor)
        self.facts = facts
        self.file_id, self._name, self.served = facts

    def fileno(self) -> int:
        return self._descriptor.fileno()

    @property
    def name(self) -> str:
        """multiprocessing asks for it to start a process under "spawn", which opens semaphores by name."""
        if self._name is not None and _file_id(_path(self._name)) == self.file_id:
            return self._name
        raise NotShareable(
            "This lock came with a task, and its name is gone: it can be passed on to tasks, and to "
            "processes that are started with the method 'fork', but to no others."
        )


class SharedSemLock(SemLock):  # type: ignore[misc]
    """A semaphore on a page that was mapped here."""

    __slots__ = ("__weakref__", "link")
    link: Link

    @classmethod
    def on_page(cls, address: int, kind: int, maxvalue: int, link: Link | None) -> SharedSemLock:
        semlock: SharedSemLock = cls._rebuild(address, kind, maxvalue, None)
        if link is not None:  # None for one that is not passed on
            semlock.link = link
        weakref.finalize(semlock, free_page, address).atexit = False
        return semlock

    @property
    def name(self) -> str:
        return self.link.name


# Locks by the file of their semaphore, and how those are served that this process has to serve.
_known: weakref.WeakValueDictionary[FileId, Any] = weakref.WeakValueDictionary()
_served: weakref.WeakKeyDictionary[Any, Link] = weakref.WeakKeyDictionary()

_MADE_ANEW = {"_semlock", "acquire", "release"}


def reduce_lock(lock: Any) -> tuple[object, ...]:
    """Reduce a Lock, RLock, Semaphore or BoundedSemaphore of multiprocessing's or loky's."""
    semlock = lock._semlock
    link = _link_of(lock)
    _known[link.file_id] = lock
    state = {name: value for name, value in vars(lock).items() if name not in _MADE_ANEW}
    return _rebuild_lock, (
        type(lock),
        state,
        semlock.kind,
        semlock.maxvalue,
        attach(link.fileno()),
        link.facts,
    )


def _rebuild_lock(cls: type, state: dict[str, Any], kind: int, maxvalue: int, index: int, facts: Facts) -> Any:
    link = Link(take(index), facts)
    known = _known.get(link.file_id)
    if type(known) is cls:
        return known
    lock: Any = object.__new__(cls)
    lock.__dict__.update(state)
    lock._semlock = _reach(link, kind, maxvalue)
    if "_is_fork_ctx" in state:
        lock._is_fork_ctx = False  # so that the link's name is asked for when a process is started with this lock
    lock._make_methods()
    util.register_after_fork(lock, _after_fork)
    _known[link.file_id] = lock
    return lock


def _after_fork(lock: Any) -> None:
    lock._semlock._after_fork()


def _link_of(lock: Any) -> Link:
    semlock = lock._semlock
    if isinstance(semlock, (SharedSemLock, RemoteSemLock)):
        return semlock.link
    link = _served.get(lock)
    if link is None and semlock.name is not None:
        link = _open(semlock.name)
    if link is None:
        link = _served[lock] = _serve(semlock)
    return link


def _open(name: str) -> Link | None:
    try:
        descriptor = os.open(_path(name), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # unlinked since: by its maker, which has ended, or by a resource tracker
        return None
    status = os.fstat(descriptor)
    return Link(descriptor, ((status.st_dev, status.st_ino), name, False))


def _serve(semlock: Any) -> Link:
    file_id = file_at(semlock.handle)
    if file_id is None:
        raise NotShareable("The locks of multiprocessing can be passed to tasks with glibc on Linux only.")
    page = SharedSemLock.on_page(page_like(semlock.handle), _SEMAPHORE, semlock.maxvalue, None)
    lobby = Lobby(page)
    serve(lobby)
    return Link(lobby.far, (file_id, None, True))


def _reach(link: Link, kind: int, maxvalue: int) -> SharedSemLock | RemoteSemLock:
    page = find_page(link.file_id) if link.served else page_of(link.fileno())
    if page is None:
        return RemoteSemLock(link, kind, maxvalue)
    return SharedSemLock.on_page(page, kind, maxvalue, link)


def _path(name: str) -> str:
    return "/dev/shm/sem." + name.lstrip("/")


def _file_id(path: str) -> FileId | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
