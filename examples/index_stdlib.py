"""Index the running Python's own standard library: parse every module in worker processes.

    python examples/index_stdlib.py                       the whole library
    python examples/index_stdlib.py --sabotage 5          five of the tasks kill their own workers
    python examples/index_stdlib.py --limit 300 --check   some of it, compared with a serial run

Exit code 0: every file was indexed, except those that cannot be parsed (they are listed) and those that were
sabotaged (they are named). 1: --check found a difference. 2: wrong arguments. 3: a file was lost that nobody
had sabotaged, or a sabotaged one was not lost.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import signal
import sys
import sysconfig
import time
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from executor import Future, ProcessPoolExecutor, WorkerLost, as_completed

LONGEST = 10
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITION = FUNCTION | ast.ClassDef
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where a statement holds further statements. Nothing that is looked for stands in an expression."""


@dataclass(frozen=True)
class Function:
    """A function by its length."""

    lines: int
    name: str
    line: int


@dataclass(frozen=True)
class Module:
    """What one file holds, or why it cannot be parsed."""

    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: tuple[str, ...] = ()
    longest: tuple[Function, ...] = ()
    error: str | None = None


@dataclass
class Index:
    """All modules by file, and the files that were lost with their workers."""

    modules: dict[Path, Module] = field(default_factory=dict)
    lost: dict[Path, WorkerLost] = field(default_factory=dict)


# In the workers


def parse(path: Path) -> Module:
    """Read and parse one file. A file that is broken is a finding, not an error."""
    try:
        with tokenize.open(path) as file:
            source = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files have invalid escapes
            tree = ast.parse(source, path)
    except (SyntaxError, ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return Module(error=f"{type(error).__name__}: {reason.replace(str(path), path.name)}")
    found = list(statements(tree))
    functions = sorted((measure(node, name) for node, name in found if isinstance(node, FUNCTION)), key=order)
    return Module(
        lines=source.count("\n"),
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node, _ in found),
        imports=tuple(sorted({package for node, _ in found for package in imported_by(node)})),
        longest=tuple(functions[:LONGEST]),
    )


def statements(node: ast.AST, prefix: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Every statement below the node, each with the dotted name of what it defines or stands in."""
    for block in BLOCKS:
        for child in getattr(node, block, ()):
            if isinstance(child, DEFINITION):
                yield child, prefix + child.name
                yield from statements(child, f"{prefix}{child.name}.")
            else:
                yield child, prefix
                yield from statements(child, prefix)


def measure(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Function:
    """A function's length, without its decorators."""
    return Function((node.end_lineno or node.lineno) - node.lineno + 1, name, node.lineno)


def imported_by(node: ast.AST) -> list[str]:
    """The top-level packages that a statement imports."""
    match node:
        case ast.Import(names=names):
            return [alias.name.partition(".")[0] for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module.partition(".")[0]]
    return []


def order(function: Function) -> tuple[int, str, int]:
    """The longest first; equals by name, so that two runs agree."""
    return -function.lines, function.name, function.line


def sabotaged(path: Path) -> Module:
    """Kills its own worker where another task would parse the file."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(f"still alive after SIGKILL: {path}")


# In the parent


def library_files(root: Path) -> list[Path]:
    """Every Python file below the root, installed packages and caches left out."""
    left_out = {"site-packages", "dist-packages", "__pycache__"}
    return sorted(path for path in root.rglob("*.py") if not left_out & set(path.parts))


def index_in_workers(files: list[Path], victims: set[Path], workers: int | None) -> Index:
    """One task a file. A file whose worker was killed is noted as lost; every other one is indexed."""
    index = Index()
    with ProcessPoolExecutor(workers) as pool:
        tasks: dict[Future[Module], Path] = {
            pool.submit(sabotaged if path in victims else parse, path): path for path in files
        }
        for number, task in enumerate(as_completed(tasks), 1):
            try:
                index.modules[tasks[task]] = task.result()
            except WorkerLost as lost:
                index.lost[tasks[task]] = lost
            show_progress(number, len(files), len(index.lost))
    return index


def index_serially(files: Iterable[Path]) -> Index:
    """The same without any worker."""
    return Index({path: parse(path) for path in files})


def show_progress(done: int, of: int, lost: int) -> None:
    """A count that stays in its line on a terminal; elsewhere one line for each tenth."""
    words = f"indexed {done:,} of {of:,}" + (f", {lost} lost" if lost else "")
    if sys.stderr.isatty():
        print(f"\r{words}", end="\n" if done == of else "", file=sys.stderr, flush=True)
    elif done * 10 // of > (done - 1) * 10 // of:
        print(words, file=sys.stderr, flush=True)


def print_index(index: Index, root: Path) -> None:
    """The table, the longest functions, what is imported most, and what went wrong."""
    modules = index.modules.values()
    broken = {path: module.error for path, module in index.modules.items() if module.error}
    print_rows(
        f"Python {sys.version.split()[0]}, {root}",
        (
            ("files indexed", f"{len(index.modules) - len(broken):,}"),
            ("lines", f"{sum(module.lines for module in modules):,}"),
            ("functions", f"{sum(module.functions for module in modules):,}"),
            ("classes", f"{sum(module.classes for module in modules):,}"),
            ("cannot be parsed", f"{len(broken):,}"),
            ("lost with their workers", f"{len(index.lost):,}"),
        ),
    )
    everywhere = [(function, path) for path, module in index.modules.items() for function in module.longest]
    everywhere.sort(key=lambda found: (order(found[0]), found[1]))
    print_rows(
        "Longest functions",
        (
            (f"{path.relative_to(root)}:{function.line} {function.name}", f"{function.lines:,} lines")
            for function, path in everywhere[:LONGEST]
        ),
    )
    imported = Counter(name for module in modules for name in module.imports)
    most = sorted(imported.items(), key=lambda pair: (-pair[1], pair[0]))[:LONGEST]
    print_rows("Imported by most files", ((name, f"{count:,}") for name, count in most))
    print_rows("Cannot be parsed", ((str(path.relative_to(root)), error) for path, error in broken.items()))
    print_rows(
        "Lost with their workers",
        (
            (
                str(path.relative_to(root)),
                f"pid {lost.pid}, {lost.signal_name or lost.exitcode}, in {lost.task}",
            )
            for path, lost in sorted(index.lost.items())
        ),
    )


def print_rows(title: str, rows: Iterable[tuple[str, str | None]]) -> None:
    """A heading and two columns; nothing when there are no rows."""
    rows = list(rows)
    if not rows:
        return
    width = min(70, max(len(left) for left, _ in rows))
    print(f"\n{title}")
    for left, right in rows:
        print(f"  {left:<{width}}  {right}")


def differences(index: Index, serial: Index) -> list[Path]:
    """The files about which the two do not say the same, those lost left out."""
    return [path for path, module in serial.modules.items() if index.modules.get(path, module) != module]


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, help="worker processes (default: as many as there are cores)")
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="the folder")
    parser.add_argument("--limit", type=int, metavar="N", help="so many files only, spread over all of them")
    parser.add_argument("--sabotage", type=int, default=0, metavar="N", help="so many tasks kill their workers")
    parser.add_argument("--seed", type=int, default=1, help="which tasks are sabotaged")
    parser.add_argument("--check", action="store_true", help="compare with a serial run and print both times")
    options = parser.parse_args()
    options.files = library_files(options.root)
    if not options.files:
        parser.error(f"no Python files below {options.root}")
    if options.limit is not None:
        if options.limit < 1:
            parser.error("--limit must be at least 1")
        options.files = options.files[:: max(1, len(options.files) // options.limit)][: options.limit]
    if not 0 <= options.sabotage <= len(options.files):
        parser.error(f"--sabotage must be between 0 and the number of files, {len(options.files)}")
    return options


def check(index: Index, files: list[Path], seconds: float) -> bool:
    """Whether a serial run finds the same; prints both times."""
    start = time.perf_counter()
    serial = index_serially(files)
    alone = time.perf_counter() - start
    different = differences(index, serial)
    print_rows(
        "Compared with a serial run",
        (
            ("in workers", f"{seconds:.2f} s"),
            ("serially", f"{alone:.2f} s"),
            ("files that differ", f"{len(different):,}"),
        ),
    )
    return not different


def main() -> int:
    """Index, print, and tell by the exit code how it went."""
    options = arguments()
    victims = set(random.Random(options.seed).sample(options.files, options.sabotage))
    start = time.perf_counter()
    index = index_in_workers(options.files, victims, options.workers)
    seconds = time.perf_counter() - start
    print_index(index, options.root)
    same = check(index, options.files, seconds) if options.check else True
    if set(index.lost) != victims:
        print("The files lost are not those that were sabotaged.", file=sys.stderr)
        return 3
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
