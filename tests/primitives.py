"""Tasks that work with locks, queues, shared memory and sockets that they are given."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
from typing import Any

from tests.support import HANG, Gate

CONTEXTS = ("fork", "forkserver", "spawn", "loky")


def context(method: str) -> Any:
    """A multiprocessing context, or loky's."""
    if method == "loky":
        from loky.backend.context import get_context

        return get_context("loky")
    return multiprocessing.get_context(method)


def start_what_stays() -> None:
    """What multiprocessing and loky start once and keep: resource trackers, a file for small values."""
    import multiprocessing.resource_tracker

    import loky.backend.resource_tracker

    multiprocessing.resource_tracker.ensure_running()
    loky.backend.resource_tracker.ensure_running()
    multiprocessing.RawArray("b", 1 << 16)


def start_workers(pool: Any, count: int, gate: Gate) -> None:
    """Let so many workers run before the test begins."""
    futures = [pool.submit(gate.stop) for _ in range(count)]
    gate.wait_arrivals(count)
    gate.open()
    for future in futures:
        future.result(HANG)


def is_free(lock: Any) -> bool:
    """Whether it could be acquired now."""
    if not lock.acquire(False):
        return False
    lock.release()
    return True


def acquire(lock: Any, timeout: float = HANG) -> bool:
    return bool(lock.acquire(timeout=timeout))


def release(lock: Any) -> None:
    lock.release()


def hold(lock: Any, gate: Gate) -> None:
    """Keep it until the gate is open."""
    with lock:
        gate.stop()


def hold_and_die(lock: Any) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def recover_and_die(lock: Any) -> None:
    lock.recover()
    os.kill(os.getpid(), signal.SIGKILL)


def hold_fork_and_die(lock: Any, gate: Gate) -> None:
    """Leave a child behind, which ends when the gate is open."""
    lock.acquire()
    if os.fork() == 0:
        gate.stop()
        os._exit(0)
    gate.wait_arrivals()
    os.kill(os.getpid(), signal.SIGKILL)


def acquire_and_release(lock: Any) -> bool:
    with lock:
        return True


def arrive_and_acquire(lock: Any, gate: Gate) -> bool:
    """Tell the test that the lock is about to be wanted, and wait for it."""
    gate.arrive()
    return bool(lock.acquire(timeout=HANG))


def identities(one: list[Any], key: dict[str, Any]) -> tuple[int, int]:
    return id(one[0]), id(key["lock"])


def acquire_twice(lock: Any) -> int:
    """How often this thread has a re-entrant lock when it has taken it twice."""
    with lock, lock:
        return int(lock._semlock._count())


def release_too_often(lock: Any) -> str:
    try:
        lock.release()
    except (ValueError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    return "released"


def add_under(lock: Any, total: Any, times: int) -> None:
    """Add to a value that has no lock of its own, with a step between reading and writing."""
    for _ in range(times):
        with lock:
            before = total.value
            os.sched_yield()
            total.value = before + 1


def add_to(total: Any, times: int) -> None:
    for _ in range(times):
        with total.get_lock():
            total.value += 1


def wait_for(event: Any) -> bool:
    return bool(event.wait(HANG))


def set_event(event: Any) -> None:
    event.set()


def wait_until(condition: Any, value: Any, goal: int, gate: Gate) -> bool:
    with condition:
        gate.arrive()
        return bool(condition.wait_for(lambda: value.value >= goal, HANG))


def wait_at(barrier: Any) -> int:
    return int(barrier.wait(HANG))


def put_all(queue: Any, items: list[Any]) -> None:
    for item in items:
        queue.put(item)


def get_many(queue: Any, count: int) -> list[Any]:
    return [queue.get() for _ in range(count)]


def work_off(queue: Any, done: Any) -> int:
    """Take items until there is a None; put each, doubled, into the other queue."""
    count = 0
    while (item := queue.get()) is not None:
        done.put(2 * item)
        if hasattr(queue, "task_done"):
            queue.task_done()
        count += 1
    return count


def echo(connection: Any) -> int:
    """Send back whatever comes until the other end is closed."""
    count = 0
    while True:
        try:
            connection.send(connection.recv())
        except EOFError:
            return count
        count += 1


def send_to(connection: Any, value: Any) -> None:
    connection.send(value)


def receive_from(connection: Any) -> Any:
    return connection.recv()


def set_items(array: Any, values: list[Any]) -> None:
    for index, value in enumerate(values):
        array[index] = value


def items_of(array: Any) -> list[Any]:
    return list(array)


def items_after(gate: Gate, array: Any) -> list[Any]:
    gate.stop()
    return list(array)


def make_array(method: str, values: list[float]) -> Any:
    return context(method).Array("d", values)


def make_queue(method: str) -> Any:
    return context(method).Queue()


def make_lock(method: str) -> Any:
    return context(method).Lock()


def append_to(proxy: Any, value: Any) -> int:
    proxy.append(value)
    return len(proxy)


def set_key(proxy: Any, key: str, value: Any) -> None:
    proxy[key] = value


def set_attribute(proxy: Any, name: str, value: Any) -> None:
    setattr(proxy, name, value)


def descriptors() -> int:
    """How many this process has open, garbage not counted."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def through_a_process(method: str, lock: Any) -> bool:
    """Whether a process that this task starts finds the lock free."""
    ctx = context(method)
    reading, writing = multiprocessing.Pipe(duplex=False)
    process = ctx.Process(target=_say_whether_free, args=(lock, writing))
    process.start()
    writing.close()
    with reading:
        answer = bool(reading.recv())
    process.join()
    return answer


def _say_whether_free(lock: Any, connection: Any) -> None:
    connection.send(is_free(lock))
    connection.close()


def through_an_executor(lock: Any) -> bool:
    """Whether a worker of an executor of this task finds the lock free."""
    from executor import ProcessPoolExecutor

    # Not "forkserver": the server would outlive the task.
    with ProcessPoolExecutor(1, mp_context="fork") as pool:
        return bool(pool.submit(is_free, lock).result(HANG))


def serve(client: socket.socket) -> bytes:
    """Echo what a client says until it says no more, in capitals; return all of it."""
    said = b""
    with client:
        while data := client.recv(4096):
            said += data
            client.sendall(data.upper())
    return said


def serve_and_die(client: socket.socket, marker: str) -> bytes:
    """Die at the first attempt, serve at the second."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return serve(client)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def accept_one(listener: socket.socket) -> bytes:
    """Accept a client and serve it."""
    client, _ = listener.accept()
    return serve(client)


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, HANG)


def facts(sock: socket.socket) -> tuple[int, int, float | None]:
    return sock.family, sock.type, sock.gettimeout()


def count(things: list[Any]) -> int:
    return len(things)


def same_files(sockets: list[socket.socket]) -> list[int]:
    """The inodes of the sockets: what they are, whatever their numbers."""
    return [os.fstat(sock.fileno()).st_ino for sock in sockets]


def raise_with(*_: Any) -> None:
    raise ValueError("after it arrived")
