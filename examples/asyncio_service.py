"""A service on asyncio that does its work in a pool: the loop only moves bytes.

    python examples/asyncio_service.py                       serve on a free port, talk to it, end
    python examples/asyncio_service.py --serve 8080          serve until Ctrl-C:
        curl localhost:8080/digest/hello
        curl localhost:8080/factor/1000000016000000063

GET /digest/TEXT and /factor/NUMBER are computed by workers. Each request has a time limit; whoever hangs up cancels
the work that was begun for him. GET /health is answered by the loop itself: it stays quick however busy the workers
are. A request that kills its worker (/crash) is answered with status 502, and nobody else notices.

Exit code 0: every client got the answer that it should. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from executor import ProcessPoolExecutor, TaskTimeout, WorkerLost

ROUNDS = 2000
LIMIT = 60.0  # seconds that a request may take


# In the workers


def digest(text: str) -> str:
    """A digest that takes its time."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"salt", ROUNDS).hex()


def factor(text: str) -> list[int]:
    """The prime factors of a number."""
    number, factors, candidate = int(text), [], 2
    while candidate * candidate <= number:
        while number % candidate == 0:
            factors.append(candidate)
            number //= candidate
        candidate += 1
    return [*factors, number] if number > 1 else factors


def crash(_: str) -> None:
    """What no library should do."""
    os.kill(os.getpid(), signal.SIGKILL)


# The service

WORK: dict[str, Callable[[str], Any]] = {"digest": digest, "factor": factor, "crash": crash}
STATUS = {200: "OK", 400: "Bad Request", 404: "Not Found", 502: "Bad Gateway", 504: "Gateway Timeout"}


class Service:
    """Answers requests over one pool."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self._answered: Counter[int] = Counter()

    async def on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            work = asyncio.ensure_future(self._answer(request.split(b" ", 2)[1].decode()))
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():  # the client has hung up: cancel_running stops the work
                work.cancel()
                await asyncio.wait([work])
                return
            gone.cancel()
            status, value = work.result()
            self._answered[status] += 1
            body = json.dumps(value).encode()
            head = f"HTTP/1.1 {status} {STATUS[status]}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str) -> tuple[int, Any]:
        """The status, and what is to be told."""
        if path == "/health":
            return 200, {"answered": self._answered.total(), "running": self._pool.stats().running}
        name, _, text = path.strip("/").partition("/")
        if name not in WORK:
            return 404, "no such thing"
        try:
            return 200, await asyncio.wrap_future(self._pool.submit(WORK[name], text))
        except ValueError as error:
            return 400, str(error)
        except TaskTimeout:
            return 504, "that takes too long"
        except WorkerLost as error:
            return 502, str(error)


# The clients


async def get(port: int, path: str) -> tuple[int, Any]:
    """The status and the value of one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(body)


async def hang_up(port: int) -> None:
    """Ask for what takes for ever, and leave when it has begun."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /factor/1000000000000000000000000000057 HTTP/1.1\r\n\r\n")
    while (await get(port, "/health"))[1]["running"] == 0:
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()


def wrong(answers: dict[str, tuple[int, Any]]) -> list[str]:
    """The requests whose answer is not what it should be."""
    expected = {f"/digest/{n}": (200, digest(str(n))) for n in range(len(answers))}
    expected |= {f"/factor/{n}": (200, factor(str(n))) for n in range(len(answers))}
    status = {"/factor/text": 400, "/nothing/1": 404, "/crash/1": 502, "/health": 200}
    return [
        path
        for path, answer in answers.items()
        if (answer[0] != status[path] if path in status else answer != expected[path])
    ]


async def talk(port: int, requests: int) -> int:
    """Many clients at once; how many were answered wrong."""
    await hang_up(port)
    paths = [f"/{'digest' if n % 2 else 'factor'}/{n}" for n in range(requests)]
    paths += ["/factor/text", "/nothing/1", "/crash/1", "/health"]
    answers = dict(zip(paths, await asyncio.gather(*(get(port, path) for path in paths)), strict=True))
    bad = wrong(answers)
    print(f"{len(paths)} requests: {dict(Counter(status for status, _ in answers.values()))}, wrong: {bad}")
    return len(bad)


async def run(options: argparse.Namespace) -> int:
    """Serve; until Ctrl-C, or as long as the clients take."""
    async with ProcessPoolExecutor(options.workers, task_timeout=LIMIT, cancel_running=True) as pool:
        service = Service(pool)
        async with await asyncio.start_server(service.on_connect, "127.0.0.1", options.serve or 0) as server:
            port = server.sockets[0].getsockname()[1]
            print(f"http://127.0.0.1:{port}/health")
            if options.serve is not None:
                await server.serve_forever()
            return 1 if await talk(port, options.requests) else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve there until Ctrl-C")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--requests", type=int, default=100, metavar="N", help="of the clients (default: 100)")
    options = parser.parse_args()
    if options.workers < 1 or options.requests < 0:
        parser.error("there must be a worker")
    return options


def main() -> int:
    options = arguments()
    try:
        return asyncio.run(run(options))
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
