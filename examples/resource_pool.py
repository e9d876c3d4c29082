"""A resource pool: many workers, and a semaphore that lets only a few of them use a scarce thing at a time.

    python examples/resource_pool.py                          8 workers, a server that stands 3 clients
    python examples/resource_pool.py --without                the same without the semaphore

The scarce thing is a web server on this machine that answers 503 to whoever comes while it is busy with its
limit of clients. Each task fetches a page, which needs a place, and works on it, which needs none. The
semaphore is an ordinary argument: made in the parent, it is the same one in every worker.

Exit code 0: every page was fetched at the first try, and the server had never more than its limit. 1: not so.
2: wrong arguments. With --without, 0 if the server did refuse somebody.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.synchronize import BoundedSemaphore
from urllib.error import HTTPError
from urllib.request import urlopen

from executor import ProcessPoolExecutor

PAGE = b"All work and no play makes Jack a dull boy.\n" * 2000


# In the workers


def fetch_and_digest(url: str, places: BoundedSemaphore | None) -> str:
    """Fetch a page and work on it; what became of it: a digest, or why the server refused."""
    place: AbstractContextManager[object] = nullcontext() if places is None else places
    try:
        with place, urlopen(url, timeout=60) as answer:
            page = answer.read()
    except HTTPError as refused:
        refused.close()
        return f"refused: {refused.code}"
    # The place is free again; this part may run in all workers at once.
    return hashlib.pbkdf2_hmac("sha256", page, b"salt", 100).hex()


# The server


@dataclass
class Server:
    """A web server that stands so many clients at once."""

    limit: int
    busy: int = 0  # guarded by lock, as the next
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def client(self) -> Iterator[bool]:
        """One more client; whether there is room for it."""
        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
            room = self.busy <= self.limit
        try:
            yield room
        finally:
            with self.lock:
                self.busy -= 1

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve within the block; its address."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with server.client() as room:
                    if not room:
                        self.send_error(503)
                        return
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(PAGE)))
                    self.end_headers()
                    server.work()
                self.wfile.write(PAGE)

            def log_message(self, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
            thread = threading.Thread(target=http.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{http.server_port}/"
            finally:
                http.shutdown()
                thread.join()

    def work(self) -> None:
        """What takes the server its time."""
        hashlib.pbkdf2_hmac("sha256", PAGE, b"pepper", 3000)


# In the parent


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--places", type=int, default=3, help="clients that the server stands (default: 3)")
    parser.add_argument("--pages", type=int, default=200, help="pages to fetch (default: 200)")
    parser.add_argument("--without", action="store_true", help="show what happens without the semaphore")
    options = parser.parse_args()
    if not 1 <= options.places < options.workers:
        parser.error("there must be fewer places than workers, and at least one")
    return options


def main() -> int:
    """Fetch, and tell how it went."""
    options = arguments()
    server = Server(options.places)
    with server.running() as address, ProcessPoolExecutor(options.workers) as pool:
        places = None if options.without else multiprocessing.BoundedSemaphore(options.places)
        urls = [f"{address}{number}" for number in range(options.pages)]
        outcomes = Counter(pool.map(fetch_and_digest, urls, [places] * len(urls)))
    refused = sum(count for outcome, count in outcomes.items() if outcome.startswith("refused"))
    print(f"{options.pages} pages, {refused} refused; at most {server.most} of {options.places} clients at once")
    if options.without:
        return 0 if refused else 1
    return 0 if not refused and server.most <= options.places else 1


if __name__ == "__main__":
    sys.exit(main())
