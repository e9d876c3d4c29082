"""A chat room: the parent accepts clients, worker processes read what they say and pass it on.

    python examples/chat_server.py --port 4000               a room; join with: nc 127.0.0.1 4000
    python examples/chat_server.py --clients 12              12 clients talk to each other, then it ends
    python examples/chat_server.py --clients 12 --crash 2    and two of them kill the worker that reads them

The first line that a client sends is its name. A socket is an ordinary argument of a task, alone or in a
list: it travels as a descriptor. No task lasts longer than a line, so that three workers serve any number of
clients.

Exit code 0: every client heard every line of every other one, whole and once. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import selectors
import signal
import socket
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.synchronize import Lock

from executor import ProcessPoolExecutor

PATIENCE = 10.0  # seconds that a client may take to end a line
LONGEST = 4096  # bytes of a line
CRASH = "/crash"


# In the workers


def relay(name: str, client: socket.socket, others: list[socket.socket], speaking: Lock) -> str | None:
    """Read a line of the client and send it to the others; None when the client has left."""
    try:
        line = read_line(client)
        if line == CRASH:
            os.kill(os.getpid(), signal.SIGKILL)
        if line is not None and others:
            with speaking:  # one at a time, or what two workers send could mix
                for other in others:
                    say(other, f"{name}: {line}\n")
        return line
    finally:
        close_all([client, *others])  # the worker's copies


def close_all(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def read_line(client: socket.socket) -> str | None:
    """One line, and not a byte of the next, which another worker may have to read."""
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST:
        try:
            ahead = client.recv(LONGEST, socket.MSG_PEEK)
        except ConnectionError:
            return None
        if not ahead:
            return None
        line += client.recv(ahead.find(b"\n") + 1 or len(ahead))
    return line.decode(errors="replace").rstrip()


def say(client: socket.socket, text: str) -> None:
    """Send it, if the client is still there."""
    try:
        client.sendall(text.encode())
    except OSError:
        pass  # it has left, which is noticed where it is read


# In the parent


@dataclass
class Room:
    """The clients by their sockets. Used by one thread, the one that made the executor."""

    pool: ProcessPoolExecutor
    listener: socket.socket
    names: dict[socket.socket, str] = field(default_factory=dict)
    speaking: Lock = field(default_factory=multiprocessing.Lock)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    left: int = 0
    lost: int = 0

    def run(self, visitors: int | None) -> None:
        """Serve until so many clients have come and gone; for ever if None."""
        with self.selector:
            self.selector.register(self.listener, selectors.EVENT_READ, self.enter)
            # Readable when a callback is due. So callbacks run between two events, and nothing needs a lock.
            self.selector.register(self.pool.fileno(), selectors.EVENT_READ, self.pool.run_callbacks)
            while self.left != visitors:
                for key, _ in self.selector.select():
                    key.data()

    def enter(self) -> None:
        """Let a client in."""
        client, _ = self.listener.accept()
        client.settimeout(PATIENCE)
        self.names[client] = ""
        self.await_line(client)

    def await_line(self, client: socket.socket) -> None:
        self.selector.register(client, selectors.EVENT_READ, partial(self.submit, client))

    def submit(self, client: socket.socket) -> None:
        """The client has something to say: let a worker read it. Until that is done it is not looked at."""
        self.selector.unregister(client)
        name = self.names[client]
        # A client without a name introduces itself: that line is for nobody else. The others are copies,
        # for one of them may leave and be closed before a worker is free, which is when arguments are sent.
        others = [other.dup() for other in self.names if name and other is not client and self.names[other]]
        relaying = self.pool.options(
            callback=partial(self.heard, client, others), error_callback=partial(self.failed, client, others)
        )
        relaying.submit(relay, name, client, others, self.speaking)

    def heard(self, client: socket.socket, others: list[socket.socket], line: str | None) -> None:
        """Called back: a worker has read a line, or the end."""
        close_all(others)
        if line is None:
            self.leave(client)
            return
        if not self.names[client]:
            self.names[client] = line
            say(client, f"* welcome {line}\n")
        self.await_line(client)

    def failed(self, client: socket.socket, others: list[socket.socket], error: BaseException) -> None:
        """Called back: the worker was lost, or the line had no end. It costs this client its place."""
        close_all(others)
        print(f"* {self.names[client]} is thrown out: {error}", file=sys.stderr)
        self.lost += 1
        self.leave(client)

    def leave(self, client: socket.socket) -> None:
        """Hang up, and tell the client so: a copy may still be in the list of a task."""
        del self.names[client]
        self.left += 1
        with client:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the client was faster


# The clients of a trial


@dataclass
class Client:
    """Says its lines when everybody is there, and notes what the others say."""

    number: int
    lines: list[str]
    heard: Counter[str] = field(default_factory=Counter)

    @property
    def words(self) -> set[str]:
        """What the others are to hear of it."""
        return {f"client{self.number}: {line}" for line in self.lines}

    def visit(self, address: tuple[str, int], all_are_there: threading.Barrier, expected: int) -> None:
        """Talk; leave when so many lines are heard, or when thrown out."""
        with socket.create_connection(address) as room, room.makefile("rw", encoding="utf-8") as file:
            print(f"client{self.number}", file=file, flush=True)
            if file.readline() != f"* welcome client{self.number}\n":
                raise ConnectionError(f"client{self.number} was not welcome")
            all_are_there.wait(60)
            for line in self.lines:
                print(line, file=file, flush=True)
            while sum(self.heard.values()) < expected and (line := file.readline()):
                self.heard[line.rstrip("\n")] += 1
            room.shutdown(socket.SHUT_WR)
            file.read()  # stay to the end: the room closes when it has read the last line


def trial(room: Room, count: int, lines: int, crashing: int) -> bool:
    """Let so many clients talk; whether each of those that stay heard the others, whole and once."""
    texts = [[f"this is line {line}" for line in range(lines)], [CRASH]]
    clients = [Client(number, texts[number < crashing]) for number in range(count)]
    staying = clients[crashing:]
    said = Counter({words for client in staying for words in client.words})
    barrier = threading.Barrier(count)
    with ThreadPoolExecutor(count) as threads:
        visits = [
            threads.submit(client.visit, room.listener.getsockname(), barrier, len(said.keys() - client.words))
            for client in clients
        ]
        room.run(visitors=count)
        for visit in visits:
            visit.result()
    wrong = [client.number for client in staying if client.heard != said - Counter(client.words)]
    print(f"{count} clients, {len(said)} lines, {room.lost} thrown out, not heard well by: {wrong or 'nobody'}")
    return not wrong and room.lost == crashing


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=3, help="worker processes (default: 3)")
    parser.add_argument("--port", type=int, default=0, help="where to listen, on this machine only")
    parser.add_argument("--clients", type=int, default=0, metavar="N", help="try it with so many clients")
    parser.add_argument("--lines", type=int, default=5, metavar="N", help="lines that each client says")
    parser.add_argument("--crash", type=int, default=0, metavar="N", help="so many clients kill a worker")
    options = parser.parse_args()
    if not 0 <= options.crash <= options.clients:
        parser.error("--crash must be between 0 and the number of clients")
    return options


def main() -> int:
    """A room for anybody, or a trial."""
    options = arguments()
    with (
        socket.create_server(("127.0.0.1", options.port), backlog=128) as listener,
        ProcessPoolExecutor(options.workers) as pool,
    ):
        room = Room(pool, listener)
        if options.clients:
            return 0 if trial(room, options.clients, options.lines, options.crash) else 1
        print(f"listening on port {listener.getsockname()[1]}; Ctrl-C ends it", flush=True)
        try:
            room.run(visitors=None)
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
