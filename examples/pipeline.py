"""Pipelines: calls that take the results of other calls, and maps over inputs that never end.

    python examples/pipeline.py
    python examples/pipeline.py --texts 200 --words 2000

First a graph: each text is made, then two calls work on it side by side, then one joins the two. Nobody waits in
between: a future is an argument like any other, and its call starts when that is done. One text is bad, and costs
its own branch only. Then a stream: an endless generator is mapped with a small buffer, until enough has come.

Exit code 0: all came out as it should. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import count

from executor import DependencyFailed, Future, ProcessPoolExecutor, as_completed

WORDS = ["the", "a", "to", "of", "and", "in", "is", "it", "you", "that", "he", "was", "for", "on", "are", "with"]


# In the workers


def write(number: int, words: int) -> str:
    """A text; number 13 cannot be written."""
    if number == 13:
        raise ValueError("nobody writes text 13")
    return " ".join(random.Random(number).choices(WORDS, k=words))


def tally(text: str) -> Counter[str]:
    """How often each word is there."""
    return Counter(text.split())


def squeeze(text: str, level: int) -> int:
    """The size of the text when it is compressed."""
    return len(zlib.compress(text.encode(), level))


def describe(words: Counter[str], *, size: int) -> tuple[int, str, int]:
    """What the two branches found: how many words, the most frequent one, the size."""
    return words.total(), words.most_common(1)[0][0], size


def smallest_factor(number: int) -> int:
    """The number itself if it is a prime."""
    return next((factor for factor in range(2, int(number**0.5) + 1) if number % factor == 0), number)


# In the parent


def graph(pool: ProcessPoolExecutor, texts: int, words: int) -> tuple[int, list[BaseException | None]]:
    """How many texts came through, and why the others did not."""
    ends: list[Future[tuple[int, str, int]]] = []
    for number in range(texts):
        text = pool.submit(write, number, words)
        ends.append(pool.submit(describe, text.then(tally), size=text.then(squeeze, 6)))
    described = 0
    causes: list[BaseException | None] = []
    for end in as_completed(ends):
        try:
            total, _, size = end.result()
        except DependencyFailed as failure:
            causes.append(root_cause(failure))
        else:
            described += total == words and size > 0
    return described, causes


def root_cause(failure: BaseException) -> BaseException:
    """What failed in the first place: the cause of the cause ..."""
    while isinstance(failure, DependencyFailed) and failure.__cause__ is not None:
        failure = failure.__cause__
    return failure


def primes(pool: ProcessPoolExecutor, wanted: int) -> tuple[list[int], int]:
    """The first primes of an endless stream of numbers, and how many numbers were read for them."""
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in count(2):
            read += 1
            yield number

    found: list[int] = []
    factors = pool.map(smallest_factor, numbers(), buffersize=8)
    for number, factor in enumerate(factors, start=2):
        if factor == number:
            found.append(number)
        if len(found) == wanted:
            break
    return found, read


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=100, metavar="N")
    parser.add_argument("--words", type=int, default=500, metavar="N", help="in each text")
    parser.add_argument("--primes", type=int, default=100, metavar="N")
    options = parser.parse_args()
    if min(options.texts, options.words, options.primes) < 1:
        parser.error("there must be one of each at least")
    return options


def main() -> int:
    """Build the graph, read the stream, and tell what came out."""
    options = arguments()
    with ProcessPoolExecutor(2) as pool:
        described, causes = graph(pool, options.texts, options.words)
        found, read = primes(pool, options.primes)
    print(f"{described} of {options.texts} texts came through; the others: {[str(cause) for cause in causes]}")
    print(f"the last of {len(found)} primes is {found[-1]}; {read} numbers were read for it")
    expected = 1 if options.texts > 13 else 0
    good = described == options.texts - expected and len(causes) == expected
    return 0 if good and read <= found[-1] - 1 + 8 else 1


if __name__ == "__main__":
    sys.exit(main())
