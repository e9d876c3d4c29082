"""A crawler: pages are fetched and parsed in workers, and stored in sqlite by callbacks on this thread.

    python examples/crawler.py                               a site of 300 pages on this machine
    python examples/crawler.py --pages 1000 --workers 8 --database pages.db

The site is a web server of the standard library. Some of its pages are slow, some answer with an error, one takes
longer than a page may, and one kills the worker that reads it. Each of those costs that page and nothing else. The
callback of a page stores it and submits the links that are new. It needs no lock: the connection was opened by this
thread, sqlite3 would refuse any other (check_same_thread), and callbacks come to this thread.

Exit code 0: every page has a row, with the outcome it was meant to have. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import urlopen

from executor import ProcessPoolExecutor, TaskTimeout, WorkerLost

PAGE_TIME = 5.0  # seconds that a page may take
SLOW = 0.1  # seconds that a slow page takes


# In the workers


@dataclass(frozen=True)
class Page:
    """What was found at an address."""

    title: str
    words: int
    links: tuple[str, ...]
    pid: int


class Parser(HTMLParser):
    """Collects the title, the links, and how many words there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title = ""
        self.words = 0
        self.links: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag == "a":
            self.links += [value for name, value in attributes if name == "href" and value]
        if tag == "crash":  # what a parser in C does with a page that it was not made for
            os.kill(os.getpid(), signal.SIGSEGV)

    def handle_data(self, text: str) -> None:
        if self._tag == "title" and not self.title:
            self.title = text.strip()
        self.words += len(text.split())


class BadStatus(Exception):
    """The server's answer is not the page. (An HTTPError holds its connection, which cannot leave the worker.)"""

    @property
    def code(self) -> int:
        return int(self.args[0])


def fetch(url: str) -> Page:
    """Fetch a page and parse it."""
    try:
        with urlopen(url) as answer:
            text = answer.read().decode()
    except HTTPError as error:
        error.close()
        raise BadStatus(error.code) from None
    parser = Parser(text)
    return Page(parser.title, parser.words, tuple(urljoin(url, link) for link in parser.links), os.getpid())


# In the parent


class Crawler:
    """Everything in here runs on the thread that made it."""

    def __init__(self, pool: ProcessPoolExecutor, table: sqlite3.Connection) -> None:
        self._pool = pool
        self._table = table
        self._seen: set[str] = set()
        self._open = 0
        table.execute("create table if not exists pages (url primary key, outcome, title, words, links, worker)")

    def crawl(self, url: str) -> None:
        """Visit all that can be reached from this address."""
        self._visit(url)
        while self._open:
            self._pool.run_callbacks(timeout=None)

    def _visit(self, url: str) -> None:
        if url in self._seen:
            return
        self._seen.add(url)
        self._open += 1
        calls = self._pool.options(callback=partial(self._store, url), error_callback=partial(self._fail, url))
        calls.submit(fetch, url)

    def _store(self, url: str, page: Page) -> None:
        self._open -= 1
        self._row(url, "read", page.title, page.words, len(page.links), page.pid)
        for link in page.links:
            self._visit(link)

    def _fail(self, url: str, error: BaseException) -> None:
        self._open -= 1
        match error:
            case BadStatus():
                outcome = f"status {error.code}"
            case WorkerLost():
                outcome = f"killed its worker ({error.signal_name})"
            case TaskTimeout():
                outcome = "took too long"
            case _:
                outcome = f"{type(error).__name__}: {error}"
        self._row(url, outcome, None, None, None, None)

    def _row(self, *values: object) -> None:
        self._table.execute("insert or replace into pages values (?, ?, ?, ?, ?, ?)", values)


# The site


class Site:
    """So many pages, each with links to some of the others, and what is the matter with each."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.closing = threading.Event()

    def nature(self, number: int) -> str:
        """How the crawler is to fare with this page."""
        if number == self.size // 2:
            return "killed its worker (SIGSEGV)"
        if number == self.size // 3:
            return "took too long"
        if number % 17 == 5:
            return "status 500"
        return "read"

    def expected(self) -> Counter[str]:
        """How many pages are to have which outcome."""
        return Counter(map(self.nature, range(self.size))) + Counter({"status 404": 1})

    def links(self, number: int) -> list[int]:
        """A page that is not good is a dead end: each is linked from good ones, so that all can be reached."""
        return [(2 * number + 1) % self.size, (2 * number + 2) % self.size, (number + 1) % self.size]

    def text(self, number: int) -> str:
        """The page itself."""
        targets = [f"/page/{target}" for target in (range(self.size) if number == 0 else self.links(number))]
        targets += ["/nowhere"] if number == 1 else []
        links = "".join(f'<li><a href="{target}">on</a></li>' for target in targets)
        crash = "<crash>" if self.nature(number).startswith("killed") else ""
        return f"<title>Page {number}</title><p>{'word ' * (number % 50 + 1)}</p>{crash}<ul>{links}</ul>"

    def answer(self, path: str) -> tuple[int, str]:
        """The status and the text; slow pages take their time."""
        place, _, number = path.rpartition("/")
        if place != "/page" or not number.isdecimal() or int(number) >= self.size:
            return 404, "no such page"
        nature = self.nature(int(number))
        if nature == "status 500":
            return 500, "something is wrong"
        if nature == "took too long":
            self.closing.wait()
        elif int(number) % 19 == 3:
            self.closing.wait(SLOW)
        return 200, self.text(int(number))

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve within the block; the address of the first page."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, text = site.answer(self.path)
                body = text.encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # its client was killed

            def log_message(self, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
            thread = threading.Thread(target=http.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{http.server_port}/page/0"
            finally:
                self.closing.set()
                http.shutdown()
                thread.join()


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=300, metavar="N", help="pages of the site (default: 300)")
    parser.add_argument("--workers", type=int, default=4, metavar="N")
    parser.add_argument("--database", default=":memory:", metavar="FILE", help="where to keep the pages")
    options = parser.parse_args()
    if options.pages < 10 or options.workers < 1:
        parser.error("there must be 10 pages and a worker at least")
    return options


def main() -> int:
    """Crawl the site, and tell how it went."""
    options = arguments()
    site = Site(options.pages)
    with closing(sqlite3.connect(options.database, check_same_thread=True)) as table:
        with site.served() as url, ProcessPoolExecutor(options.workers, task_timeout=PAGE_TIME) as pool:
            Crawler(pool, table).crawl(url)
        table.commit()
        outcomes = Counter(dict(table.execute("select outcome, count(*) from pages group by outcome")))
        words, workers = table.execute("select sum(words), count(distinct worker) from pages").fetchone()
    for outcome, pages in outcomes.most_common():
        print(f"{pages:>6}  {outcome}")
    print(f"{words:,} words, read by {workers} workers")
    return 0 if outcomes == site.expected() else 1


if __name__ == "__main__":
    sys.exit(main())
