"""Metrics over HTTP, as Prometheus scrapes them.

    python examples/prometheus.py                   serves them while tasks run, and scrapes itself
    python examples/prometheus.py --tasks 200 --port 9100

The server runs in a thread of its own: ``metrics`` may be called from any thread.

Exit code 0: what was scraped agrees with what was done. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

from executor import ProcessPoolExecutor

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def collatz(number: int) -> int:
    """How many steps from there to 1. Some take longer than others."""
    steps = 0
    while number != 1:
        number = 3 * number + 1 if number % 2 else number // 2
        steps += 1
    return steps


@contextmanager
def serving(pool: ProcessPoolExecutor, port: int) -> Iterator[str]:
    """The address of the pool's metrics, on this machine only."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            body = pool.metrics().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Not a line for each request."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def scrape(address: str) -> str:
    with urlopen(address) as response:
        assert response.headers["Content-Type"] == CONTENT_TYPE
        return str(response.read().decode())


def value(text: str, sample: str) -> float:
    """That of one sample, named with its labels."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else -1.0


def positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description="Metrics over HTTP, as Prometheus scrapes them.")
    parser.add_argument("--tasks", type=positive, default=2000, help="how many (default 2000)")
    parser.add_argument("--port", type=int, default=0, help="of the server (default: any that is free)")
    given = parser.parse_args()
    with ProcessPoolExecutor(2) as pool, serving(pool, given.port) as address:
        print(f"serving {address}")
        scrape(address)  # from here on durations are counted
        longest = max(pool.map(collatz, range(1, given.tasks + 1)))
        failed = pool.submit(collatz, "one").exception()
        text = scrape(address)
    print(f"the longest took {longest} steps; one failed: {failed}")
    print(*(line for line in text.splitlines() if not line.startswith("#")), sep="\n")
    counts = [
        value(text, 'executor_tasks_finished_total{outcome="done"}') == given.tasks,
        value(text, 'executor_tasks_finished_total{outcome="failed"}') == 1,
        value(text, "executor_task_duration_seconds_count") == given.tasks + 1,
        text.endswith("# EOF\n"),
    ]
    return 0 if all(counts) else 1


if __name__ == "__main__":
    sys.exit(main())
