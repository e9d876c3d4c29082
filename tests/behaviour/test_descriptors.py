"""Sockets as arguments of tasks and as results: they travel as descriptors."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import ProcessPoolExecutor, WorkerLost
from tests import deaths
from tests import primitives as tasks
from tests.support import HANG, Gate, new_gate, open_descriptors
from tests.tasks import pid, same

# Tasks let go of the sockets that they get without closing them, which their workers would warn of here.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def pool(start_method: str, tmp_path: Path) -> Iterator[ProcessPoolExecutor]:
    """Two workers that run already: one that is forked later has a copy of every socket of the test."""
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        tasks.start_workers(pool, 2, new_gate(tmp_path))
        yield pool


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HANG)
        yield listener


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def talk(address: tuple[str, int], words: bytes) -> bytes:
    """A client: say the words, hear the answer to the end."""
    with socket.create_connection(address, HANG) as client:
        client.sendall(words)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


def close_when_done(client: socket.socket) -> Callable[[Any], None]:
    return lambda future: client.close()


# --- a server -----------------------------------------------------------------------------------------------


def test_accept_in_the_parent_and_serve_in_a_worker(pool: ProcessPoolExecutor, listener: socket.socket) -> None:
    heard: dict[int, bytes] = {}

    def client(number: int) -> None:
        heard[number] = talk(listener.getsockname(), f"client {number}".encode())

    # More clients than workers: who finds no worker free waits in the queue of the executor.
    clients = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in clients:
        thread.start()
    served = []
    for _ in clients:
        connection, _ = listener.accept()
        served.append(pool.submit(tasks.serve, connection))
        served[-1].add_done_callback(close_when_done(connection))
    for thread in clients:
        thread.join(HANG)
    said = {f"client {number}".encode() for number in range(6)}
    assert {future.result(HANG) for future in served} == said
    assert set(heard.values()) == {words.upper() for words in said}


def test_accept_in_the_workers(pool: ProcessPoolExecutor, listener: socket.socket) -> None:
    accepting = [pool.submit(tasks.accept_one, listener) for _ in range(2)]
    assert talk(listener.getsockname(), b"one") == b"ONE"
    assert talk(listener.getsockname(), b"two") == b"TWO"
    assert {future.result(HANG) for future in accepting} == {b"one", b"two"}


def test_a_socket_that_a_worker_has_opened(pool: ProcessPoolExecutor, listener: socket.socket) -> None:
    connecting = pool.submit(tasks.connect, listener.getsockname())
    server, _ = listener.accept()
    with server, connecting.result(HANG) as client:
        client.sendall(b"from here now")
        assert server.recv(100) == b"from here now"


def test_a_client_whose_worker_dies_is_served_by_the_next(
    pool: ProcessPoolExecutor, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    mine, theirs = pair
    serving = pool.options(retries=1).submit(tasks.serve_and_die, theirs, str(tmp_path / "tried"))
    mine.sendall(b"still there?")
    mine.shutdown(socket.SHUT_WR)
    assert serving.result(HANG) == b"still there?"
    assert mine.recv(100) == b"STILL THERE?"


def test_the_end_of_the_stream_when_the_worker_dies(
    pool: ProcessPoolExecutor, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    mine, theirs = pair
    serving = pool.submit(tasks.serve_and_die, theirs, str(tmp_path / "tried"))
    assert isinstance(serving.exception(HANG), WorkerLost)
    theirs.close()
    mine.settimeout(HANG)
    assert mine.recv(100) == b""


# --- kinds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
@pytest.mark.parametrize("timeout", [None, 0.0, 2.5])
def test_a_socket_keeps_its_kind_and_its_timeout(
    pool: ProcessPoolExecutor, kind: socket.SocketKind, timeout: float | None
) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(timeout)
        assert pool.submit(tasks.facts, sock).result(HANG) == (socket.AF_INET, kind, timeout)
        with pool.submit(same, sock).result(HANG) as back:
            assert tasks.facts(back) == (socket.AF_INET, kind, timeout)
            assert tasks.same_files([back]) == tasks.same_files([sock])


def test_a_unix_socket_in_a_container_beside_other_things(
    pool: ProcessPoolExecutor, pair: tuple[socket.socket, socket.socket]
) -> None:
    mine, theirs = pair
    lock = multiprocessing.get_context("spawn").Lock()
    back = pool.submit(same, {"socket": [theirs], "bytes": bytes(1 << 20), "lock": lock}).result(HANG)
    with back["socket"][0] as copy:
        copy.sendall(b"x")
        assert mine.recv(1) == b"x"
    assert len(back["bytes"]) == 1 << 20
    assert back["lock"] is lock


def test_more_sockets_than_one_message_takes(pool: ProcessPoolExecutor) -> None:
    # The kernel takes 253 descriptors with one message.
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(300)]
    try:
        assert pool.submit(tasks.same_files, sockets).result(HANG) == tasks.same_files(sockets)
        back = pool.submit(same, sockets).result(HANG)
        assert tasks.same_files(back) == tasks.same_files(sockets)
        for sock in back:
            sock.close()
    finally:
        for sock in sockets:
            sock.close()


def test_in_the_items_of_a_map(pool: ProcessPoolExecutor) -> None:
    pairs = [socket.socketpair() for _ in range(20)]
    for number, (mine, _) in enumerate(pairs):
        mine.sendall(b"%d" % number)
        mine.shutdown(socket.SHUT_WR)
    said = list(pool.map(tasks.serve, [theirs for _, theirs in pairs]))
    assert said == [b"%d" % number for number in range(20)]
    for mine, theirs in pairs:
        mine.close()
        theirs.close()


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_a_socket_that_is_closed_says_when_to_close_it(pool: ProcessPoolExecutor) -> None:
    sock = socket.socket()
    sock.close()
    error = pool.submit(tasks.serve, sock).exception(HANG)
    assert "add_done_callback" in str(error)
    assert pool.submit(pid).result(HANG)


def test_nothing_is_left_open_in_a_worker(start_method: str, pair: tuple[socket.socket, socket.socket]) -> None:
    _, theirs = pair
    refuses = deaths.RaisesOnLoad(ValueError, "not this")
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:

        def go_wrong() -> None:
            assert pool.submit(tasks.raise_with, theirs).exception(HANG)
            # The first cannot be loaded, so nobody takes the descriptor of the second; and the reverse.
            assert pool.submit(tasks.count, [refuses, theirs]).exception(HANG)
            assert pool.submit(tasks.count, [theirs, refuses]).exception(HANG)
            assert pool.submit(tasks.count, [theirs, deaths.RaisesOnDump(ValueError, "not that")]).exception(HANG)
            assert pool.submit(tasks.count, [theirs]).result(HANG) == 1

        go_wrong()
        worker = pool.submit(pid).result(HANG)
        before = open_descriptors(worker)
        for _ in range(10):
            go_wrong()
        pool.submit(pid).result(HANG)
        assert open_descriptors(worker) <= before


def test_a_cancelled_task_leaves_its_socket_open(pair: tuple[socket.socket, socket.socket], gate: Gate) -> None:
    mine, theirs = pair
    with ProcessPoolExecutor(1) as pool:
        pool.submit(gate.stop)
        gate.wait_arrivals()
        waiting = [pool.submit(tasks.serve, theirs) for _ in range(5)]
        assert all(future.cancel() for future in waiting)
        gate.open()
    theirs.sendall(b"x")
    assert mine.recv(1) == b"x"
