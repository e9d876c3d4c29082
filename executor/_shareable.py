"""What plain pickle cannot send to a process that runs already: locks and queues, shared memory, sockets.

A primitive of multiprocessing (from any of its contexts, or from loky's) and an open connection may be an
argument of a task, or its result, at any depth, under every start method, whether the worker is older or
younger than it.

    Lock RLock Semaphore BoundedSemaphore                       `_shareable_locks`
    Event Condition Barrier Queue SimpleQueue JoinableQueue     made of those, and of connections
    Value Array RawValue RawArray                               below: a block of a file in shared memory
    Connection socket                                           below: a descriptor
    proxies of a Manager                                        by themselves; their key travels with them

What was made under the start method "fork" (multiprocessing's default before Python 3.14) is served by its maker
to workers that are not forked from it later: each acquire and each release is a message there and back. What was
made by ``multiprocessing.get_context("forkserver")`` has its full speed everywhere.

When a worker is killed while it holds one
------------------------------------------

Nothing is released for it, for nobody can know in what state it left what it was changing. That is
multiprocessing's meaning too, and it is the same for a task that ran out of its time or was cancelled while
it ran.

    Lock, RLock, Value, Array   It stays locked. Whoever wants it waits for ever, unless with a timeout.
    Semaphore                   It has one place less, for ever.
    Event, Condition, Barrier   Killed inside set(), is_set() or notify(): as a Lock. Killed inside wait():
                                the next set() or notify() waits for ever for the dead waiter to wake.
    Queue, SimpleQueue          Killed inside get() or put(): everybody else waits for ever to get, or to put.
                                What put() had taken and not yet written into the pipe is lost.
    JoinableQueue               task_done() is never called for the item it had: join() waits for ever.
    Connection, socket          The other end sees the end of the stream, once the parent's copy is closed.
    RobustLock                  Noticed: whoever acquires it next gets `HolderDied`, which names the dead.

`RobustLock` is the one to use where workers may be killed.
"""

from __future__ import annotations

import os
import socket
import sys
import types
import weakref
from functools import partial
from multiprocessing.reduction import ForkingPickler

from ._shareable_descriptors import (
    NotShareable,
    OwnedDescriptor,
    attach,
    attach_own,
    close_all,
    collecting,
    providing,
    take,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from typing import Any

    Reducer = Callable[[Any], Any]

__all__ = ["NotShareable", "attach", "close_all", "collecting", "providing", "reducers", "take"]

# multiprocessing registers these for Python 2's sake; every pickler knows better.
_PICKLE_BY_THEMSELVES = (types.MethodType, types.MethodDescriptorType, types.WrapperDescriptorType, partial)


def reducers() -> dict[type, Reducer]:
    """How to reduce objects of the types that need help, those registered with multiprocessing's pickler
    included.

    To be used inside `collecting`. An object can only be met if the module of its type is loaded, so none is
    loaded here. Plain pickle must not be asked first about `multiprocessing.connection.Connection`: it would
    copy the number of the descriptor.
    """
    table: dict[type, Reducer] = dict(ForkingPickler._extra_reducers)  # type: ignore[attr-defined]
    for native in _PICKLE_BY_THEMSELVES:
        table.pop(native, None)
    _add_shared_memory(table)
    for cls in _lock_types():
        table[cls] = _reduce_lock
    if connection := sys.modules.get("multiprocessing.connection"):
        table[connection.Connection] = _reduce_connection
    table[socket.socket] = _reduce_socket
    return table


def _lock_types() -> Iterator[type]:
    for module in ("multiprocessing.synchronize", "loky.backend.synchronize"):
        if module in sys.modules:
            pending = [sys.modules[module].SemLock]
            while pending:
                yield (cls := pending.pop())
                pending += cls.__subclasses__()


def _reduce_lock(lock: Any) -> Any:
    from ._shareable_locks import reduce_lock

    return reduce_lock(lock)


# -- Connections and sockets ---------------------------------------------------------------------------------


def _reduce_connection(connection: Connection[Any, Any]) -> Any:
    if connection.closed:
        raise _closed(connection)
    state = type(connection), connection.readable, connection.writable
    return _rebuild_connection, (attach(connection.fileno()), *state)


def _rebuild_connection(
    index: int, cls: type[Connection[Any, Any]], readable: bool, writable: bool
) -> Connection[Any, Any]:
    return cls(take(index), readable, writable)


def _reduce_socket(sock: socket.socket) -> Any:
    if sock.fileno() < 0:
        raise _closed(sock)
    state = sock.family, sock.type, sock.proto, sock.gettimeout()
    return _rebuild_socket, (attach(sock.fileno()), *state)


def _rebuild_socket(index: int, family: int, kind: int, proto: int, timeout: float | None) -> socket.socket:
    sock = socket.socket(family, kind, proto, fileno=take(index))
    sock.settimeout(timeout)
    return sock


def _closed(what: object) -> NotShareable:
    return NotShareable(
        f"This {type(what).__name__} is closed already. An argument is sent when a worker is free to run the "
        "task, not when submit() returns, so close the parent's copy when the task is done: "
        "future.add_done_callback(lambda _: connection.close())."
    )


# -- Shared memory -------------------------------------------------------------------------------------------
#
# A value is a block of an arena, which is a file that many values share. The block is free again as soon as
# its owner's value is garbage: its next value would then lie under the hands of whoever got the first. So
# each receiver has a pin, which keeps the owner's value alive.

_arenas: weakref.WeakValueDictionary[tuple[int, int], Any] = weakref.WeakValueDictionary()


def _add_shared_memory(table: dict[type, Reducer]) -> None:
    if heap := sys.modules.get("multiprocessing.heap"):
        table[heap.Arena] = _reduce_arena
        table[heap.BufferWrapper] = _reduce_block
    if sharedctypes := sys.modules.get("multiprocessing.sharedctypes"):
        for cls, reduce in table.items():
            # Registered for the whole type once one value of it was shared; others of it are not in shared
            # memory.
            if reduce is sharedctypes.reduce_ctype:
                table[cls] = _reduce_ctype


def _reduce_ctype(value: Any) -> Any:
    from multiprocessing import sharedctypes

    if hasattr(value, "_wrapper"):
        return sharedctypes.reduce_ctype(value)  # type: ignore[attr-defined]
    return value.__reduce_ex__(5)


def _reduce_block(block: Any) -> Any:
    pin: OwnedDescriptor | None = vars(block).get("_pin")
    index = attach_own(partial(_pin, block)) if pin is None else attach(pin.fileno())
    return _rebuild_block, (block._state, index)


def _rebuild_block(state: Any, index: int) -> Any:
    from multiprocessing.heap import BufferWrapper

    block: Any = BufferWrapper.__new__(BufferWrapper)
    block._state = state
    block._pin = OwnedDescriptor(take(index))
    return block


def _pin(block: object) -> int:
    from ._shareable_broker import Pin, serve

    pin = Pin(block)
    serve(pin)
    return pin.far


def _reduce_arena(arena: Any) -> Any:
    _arenas[_file_id(arena.fd)] = arena
    return _rebuild_arena, (arena.size, attach(arena.fd))


def _rebuild_arena(size: int, index: int) -> Any:
    from multiprocessing import heap

    descriptor = OwnedDescriptor(take(index))
    file_id = _file_id(descriptor.fileno())
    arena: Any = _arenas.get(file_id)
    if arena is None:
        arena = _arenas[file_id] = heap.Arena(size, descriptor.fileno())
        arena._descriptor = descriptor  # multiprocessing would never close it
    return arena


def _file_id(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
