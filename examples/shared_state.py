"""Shared state: tasks that write into a dict, a list and a Namespace of a Manager.

    python examples/shared_state.py                 words in the documentation strings of the standard library
    python examples/shared_state.py --limit 200 --workers 4

A manager is a process that holds objects; what tasks get are proxies, ordinary arguments. Each call on a
proxy is a message, so a task counts by itself first and adds what it has found once. Reading, adding and
writing back are several calls: a lock, also the manager's, keeps them together.

The last line compares with the same done by returning results, which is the better way where it is possible.

Exit code 0: both ways found the same. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import sysconfig
import warnings
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import Manager
from multiprocessing.managers import DictProxy, ListProxy
from pathlib import Path
from typing import Any

from executor import ProcessPoolExecutor, wait

WORD = re.compile(r"[a-z]{4,}")


# In the workers


@dataclass(frozen=True)
class Findings:
    """What all tasks share. Each field is a proxy: a copy stands for the same objects."""

    words: DictProxy[str, int]
    broken: ListProxy[str]
    space: Any  # .files: how many were read; .longest: the largest file and its size
    lock: AbstractContextManager[Any]

    def add(self, words: Counter[str], files: int, longest: tuple[int, str]) -> None:
        """Add what a task has found."""
        with self.lock:
            known = self.words.copy()  # one message, where a get() for each word would be many
            self.words.update({word: known.get(word, 0) + count for word, count in words.items()})
            self.space.files += files
            self.space.longest = max(self.space.longest, longest)


def words_of(path: Path) -> Counter[str]:
    """The words in the documentation strings of a file. Raises what parsing raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files have invalid escapes
        tree = ast.parse(path.read_bytes())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = (ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented))
    return Counter(word for text in texts for word in WORD.findall(text.lower()))


def read_into(findings: Findings, paths: list[Path]) -> None:
    """Read some files and note what they hold where everybody can see it."""
    total: Counter[str] = Counter()
    sizes: list[tuple[int, str]] = []
    for path in paths:
        try:
            total += words_of(path)
        except (SyntaxError, ValueError):
            findings.broken.append(path.name)
        else:
            sizes.append((path.stat().st_size, str(path)))
    findings.add(total, len(sizes), max(sizes, default=(0, "")))


def read(path: Path) -> Counter[str] | None:
    """The same for one file, by returning it; None for a broken one."""
    try:
        return words_of(path)
    except (SyntaxError, ValueError):
        return None


# In the parent


def with_a_manager(pool: ProcessPoolExecutor, files: list[Path], parts: int) -> tuple[Counter[str], int]:
    """The words, and how many files were broken."""
    with Manager() as manager:
        findings = Findings(manager.dict(), manager.list(), manager.Namespace(), manager.Lock())
        findings.space.files, findings.space.longest = 0, (0, "")
        tasks = [pool.submit(read_into, findings, files[part::parts]) for part in range(parts)]
        for task in wait(tasks).done:
            task.result()
        size, longest = findings.space.longest
        print(f"{findings.space.files:,} files read, the longest is {longest} with {size:,} bytes")
        return Counter(dict(findings.words)), len(findings.broken)


def by_returning(pool: ProcessPoolExecutor, files: list[Path]) -> tuple[Counter[str], int]:
    """The same: nothing is shared, so nothing is locked."""
    results = list(pool.map(read, files))
    return sum((words for words in results if words is not None), Counter()), results.count(None)


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="the folder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, metavar="N", help="so many files only, spread over all of them")
    options = parser.parse_args()
    left_out = {"site-packages", "dist-packages", "__pycache__"}
    files = sorted(path for path in options.root.rglob("*.py") if not left_out & set(path.parts))
    if not files:
        parser.error(f"no Python files below {options.root}")
    options.files = files[:: max(1, len(files) // (options.limit or len(files)))][: options.limit]
    return options


def main() -> int:
    """Count both ways, and show what was found."""
    options = arguments()
    with ProcessPoolExecutor(options.workers) as pool:
        shared, broken = with_a_manager(pool, options.files, parts=4 * options.workers)
        returned = by_returning(pool, options.files)
    print("most used:", ", ".join(f"{word} {count:,}" for word, count in shared.most_common(8)))
    same = (shared, broken) == returned
    print(f"{broken} broken files; by returning results: {'the same' if same else returned}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
