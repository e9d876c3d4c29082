"""Checksums of all files of a folder, in a database; a run that is interrupted goes on where it was.

    python examples/checksums.py ~/photos                  Ctrl-C it, and start it again
    python examples/checksums.py ~/photos --changed        only says which files are new or have changed

Workers read the files. Their results come to callbacks, which run on the thread that made the executor: the one
that the sqlite connection belongs to. So each file is in the database as soon as it is done, without a lock or a
queue, whatever becomes of the others.

Exit code 0: all files are done, but for those that cannot be read (they are listed). 2: wrong arguments.
130: interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sqlite3
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from executor import ProcessPoolExecutor

COMMIT_EVERY = 50  # files; so many are read once more after a power cut

Row = tuple[str, int, int, str]


# In the workers


def checksum(path: str) -> Row:
    """The file's path, size, time of change (ns) and SHA-256."""
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        return path, about.st_size, about.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()


# In the parent


class Book:
    """The database. For the thread that made it, as sqlite3 demands."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, sha256 TEXT)"
        )
        self.added = 0
        self.problems: list[str] = []

    def is_done(self, path: str) -> bool:
        """Whether the file is there as it is now."""
        about = os.stat(path)
        row = self._connection.execute("SELECT size, changed FROM file WHERE path = ?", (path,)).fetchone()
        return bool(row == (about.st_size, about.st_mtime_ns))

    def add(self, row: Row) -> None:
        self._connection.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", row)
        self.added += 1
        if self.added % COMMIT_EVERY == 0:
            self._connection.commit()

    def complain(self, error: BaseException) -> None:
        if isinstance(error, Exception):  # not what was cancelled
            self.problems.append(str(error))

    def count(self) -> int:
        (count,) = self._connection.execute("SELECT count(*) FROM file").fetchone()
        return int(count)

    def close(self) -> None:
        self._connection.commit()
        self._connection.close()


def files_below(root: Path) -> Iterator[str]:
    """All regular files, in order."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def run(book: Book, todo: list[str], workers: int | None, stop_after: int | None) -> None:
    """Read the files that are not in the book yet. Raises KeyboardInterrupt with what is done in the book."""

    def add(row: Row) -> None:
        book.add(row)
        if book.added == stop_after:
            os.kill(os.getpid(), signal.SIGINT)

    with ProcessPoolExecutor(workers) as executor:
        into_book = executor.options(callback=add, error_callback=book.complain, retries=1)
        for _ in into_book.map(checksum, todo, return_exceptions=True):
            pass  # the callbacks do all there is to do


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib"), "email"))
    parser.add_argument("--database", type=Path, default=Path("checksums.sqlite"))
    parser.add_argument("--workers", type=int, help="worker processes (default: as many as there are cores)")
    parser.add_argument(
        "--changed", action="store_true", help="list the files that are not in the database as they are"
    )
    parser.add_argument("--stop-after", type=int, metavar="N", help="press Ctrl-C after so many files")
    options = parser.parse_args()
    if not options.root.is_dir():
        parser.error(f"{options.root} is no folder")
    return options


def main() -> int:
    """Go on where the last run was, and tell by the exit code how far this one came."""
    options = arguments()
    with closing(Book(options.database)) as book:
        files = list(files_below(options.root))
        todo = [path for path in files if not book.is_done(path)]
        if options.changed:
            print(*todo, sep="\n")
            return 0
        print(f"{len(files):,} files, {len(files) - len(todo):,} of them done before")
        try:
            run(book, todo, options.workers, options.stop_after)
        except KeyboardInterrupt:
            print(f"interrupted: {book.added:,} more are done; start again to go on")
            return 130
        print(f"{book.added:,} more are done, {book.count():,} are in {options.database}")
        print(*book.problems, sep="\n", end="\n" if book.problems else "")
        return 0


if __name__ == "__main__":
    sys.exit(main())
