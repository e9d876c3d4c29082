"""Producers and consumers with a queue and poison pills; and the same in one line.

    python examples/producer_consumer.py                     counts the lines of the standard library
    python examples/producer_consumer.py --producers 2 --consumers 3 --limit 400

A queue of multiprocessing is an ordinary argument of a task. Each producer finds the files of some folders
and puts them into the queue, which has room for a few, so that producers never run far ahead. Consumers take
what comes until they meet a pill. ``map`` does the same without any of that: it is its own queue.

Exit code 0: both ways counted the same. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import sysconfig
from collections import Counter
from multiprocessing.queues import JoinableQueue
from pathlib import Path

from executor import ProcessPoolExecutor

ROOM = 16  # files that may wait in the queue
PILL = None  # whoever takes it ends


# In the workers


def produce(root: Path, folders: list[str], todo: JoinableQueue[Path | None]) -> int:
    """Put every Python file of these folders into the queue; how many."""
    count = 0
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            todo.put(path)  # waits while the queue is full
            count += 1
    return count


def consume(todo: JoinableQueue[Path | None]) -> Counter[str]:
    """Count what comes, until there is a pill."""
    total: Counter[str] = Counter()
    while (path := todo.get()) is not PILL:
        total += measure(path)
        todo.task_done()
    return total


def measure(path: Path) -> Counter[str]:
    """Files, lines and bytes of one file."""
    data = path.read_bytes()
    return Counter(files=1, lines=data.count(b"\n"), bytes=len(data))


# In the parent


def with_a_queue(
    pool: ProcessPoolExecutor, root: Path, folders: list[str], consumers: int, producers: int
) -> Counter[str]:
    """Producers and consumers are tasks like any other, and all of them run at the same time."""
    todo: JoinableQueue[Path | None] = multiprocessing.JoinableQueue(ROOM)
    eating = [pool.submit(consume, todo) for _ in range(consumers)]
    cooking = [pool.submit(produce, root, folders[part::producers], todo) for part in range(producers)]
    found = sum(future.result() for future in cooking)
    todo.join()  # put() returns before the item is on its way: a pill from here could overtake the last files
    for _ in eating:
        todo.put(PILL)
    total: Counter[str] = sum((future.result() for future in eating), Counter())
    assert total["files"] == found
    return total


def in_one_line(pool: ProcessPoolExecutor, root: Path, folders: list[str]) -> Counter[str]:
    """The same. Files are taken from the generator no faster than they are measured."""
    files = (path for folder in folders for path in (root / folder).rglob("*.py"))
    return sum(pool.map(measure, files, buffersize=ROOM), Counter())


def show(name: str, total: Counter[str]) -> None:
    print(f"{name:<12}{total['files']:>8,} files{total['lines']:>12,} lines{total['bytes']:>14,} bytes")


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="the folder")
    parser.add_argument("--producers", type=int, default=1, metavar="N")
    parser.add_argument("--consumers", type=int, default=2, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="so many of its folders only")
    options = parser.parse_args()
    if options.producers < 1 or options.consumers < 1:
        parser.error("there must be a producer and a consumer")
    left_out = {"site-packages", "dist-packages", "__pycache__"}
    folders = (path for path in options.root.glob("*/") if path.is_dir() and path.name not in left_out)
    options.folders = sorted(path.name for path in folders)[: options.limit]
    if not options.folders:
        parser.error(f"no folders in {options.root}")
    return options


def main() -> int:
    """Count both ways."""
    options = arguments()
    with ProcessPoolExecutor(options.producers + options.consumers) as pool:
        queued = with_a_queue(pool, options.root, options.folders, options.consumers, options.producers)
        mapped = in_one_line(pool, options.root, options.folders)
    show("with a queue", queued)
    show("in one line", mapped)
    return 0 if queued == mapped else 1


if __name__ == "__main__":
    sys.exit(main())
