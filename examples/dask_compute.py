"""Which names Python's own library uses most: a graph of dask, computed in worker processes.

    python examples/dask_compute.py
    python examples/dask_compute.py --root ~/project --limit 1000

dask says what depends on what; `scheduler=` says who computes it, and any executor of `concurrent.futures` will do.
Files are counted each by itself, and counts are added two by two, as they come. Nothing of `dask.distributed` is
needed for this (`executor.distributed` is for that).

Exit code 0: the result is the same as that of a loop. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import io
import sys
import sysconfig
import time
import tokenize
from collections import Counter
from keyword import iskeyword
from pathlib import Path
from typing import Any

from executor import ProcessPoolExecutor

try:
    import dask
except ImportError:
    sys.exit("This example needs dask: pip install dask")


# In the workers


def count_names(path: Path) -> Counter[str]:
    """How often each name is in the file; a file that is no Python has none."""
    names: Counter[str] = Counter()
    try:
        with tokenize.open(path) as file:
            source = file.read()
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and not iskeyword(token.string):
                names[token.string] += 1
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        names.clear()
    return names


def add(left: Counter[str], right: Counter[str]) -> Counter[str]:
    """Both together."""
    return left + right


# In the parent


def graph(files: list[Path]) -> Any:
    """What is to be computed: a count for each file, and a tree of sums over them."""
    level = [dask.delayed(count_names)(path) for path in files]
    while len(level) > 1:
        odd = level[len(level) // 2 * 2 :]
        level = [dask.delayed(add)(left, right) for left, right in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="the folder")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="so many files only")
    parser.add_argument("--workers", type=int, help="worker processes (default: as many as there are cores)")
    options = parser.parse_args()
    options.files = sorted(options.root.glob("**/*.py"))[: max(options.limit, 0)]
    if not options.files:
        parser.error(f"no Python files below {options.root}, or --limit is 0")
    return options


def main() -> int:
    """Count twice, and tell by the exit code whether it came to the same."""
    options = arguments()
    whole = graph(options.files)
    start = time.perf_counter()
    with ProcessPoolExecutor(options.workers) as executor:
        (names,) = dask.compute(whole, scheduler=executor)
    between = time.perf_counter()
    expected = sum(map(count_names, options.files), Counter())
    end = time.perf_counter()
    for name, count in names.most_common(10):
        print(f"{name:<20}{count:8,}")
    print(f"{len(options.files):,} files")
    print(f"in workers {between - start:.2f} s (their start included), in this process {end - between:.2f} s")
    return 0 if names == expected else 1


if __name__ == "__main__":
    sys.exit(main())
