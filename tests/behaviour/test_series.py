"""Quick items of a map, whose results gather in shared memory: each is its own task all the same."""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest

from executor import ProcessPoolExecutor, WorkerLost
from tests import tasks
from tests.support import HANG, Gate, cases, eventually


class Unloadable:
    def __reduce__(self) -> Any:
        return divide_by_zero, ()


class Unpicklable:
    def __reduce__(self) -> Any:
        raise LookupError("not this one")


def divide_by_zero() -> None:
    raise ZeroDivisionError


def of_many_types(x: int) -> Any:
    if x % 7:
        return x
    return (x / 2, None, True, str(x), 2**70 + x, (x, "a"), [x], "a" * 50_000, b"a" * 200_000)[x // 7 % 9]


def often_another(x: int) -> Any:
    return (x, None, float(x), x > 3, "a")[x % 5]


def raising(x: int) -> int:
    if x % 10 == 3:
        raise LookupError(x)
    return x


def unloadable(x: int) -> Any:
    return Unloadable() if x % 100 == 50 else str(x)


def unpicklable(x: int) -> Any:
    return Unpicklable() if x % 100 == 50 else str(x)


def numbers(x: int) -> int:
    return -x


def texts(x: int) -> str:
    return f"text {x}"


def noted(file: str, then: Callable[[int], Any], bad: int, x: int) -> Any:
    """One line for each that began; the bad one kills its worker."""
    with open(file, "ab", buffering=0) as lines:
        lines.write(b"%d\n" % x)
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return then(x)


def stopping(gate: Gate, then: Callable[[int], Any], bad: int, x: int) -> Any:
    if x == bad:
        gate.stop()
    return then(x)


def forking(bad: int, x: int) -> int:
    """The child of a careless fork comes back from the item as well."""
    if x == bad:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
    return x


def logging_some(x: int) -> int:
    if x % 50 == 0:
        logging.getLogger("tests.series").warning("item %d", x)
    return x


FUNCTIONS = [of_many_types, often_another, numbers, texts, tasks.same]
WAYS: list[dict[str, int]] = [{}, {"chunksize": 7}, {"buffersize": 300}]


FAULTY = pytest.mark.parametrize(  # what goes wrong with the numbers up to 2000
    ("fn", "errors"),
    [
        (raising, dict.fromkeys(range(3, 2000, 10), "LookupError")),
        (unloadable, dict.fromkeys(range(50, 2000, 100), "ZeroDivisionError")),
        (unpicklable, dict.fromkeys(range(50, 2000, 100), "LookupError")),
    ],
)


def told(error: BaseException) -> str:
    return type(error).__name__


@pytest.fixture
def pool(start_method: str) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        list(pool.map(numbers, range(1000)))  # it is known by now how quick they are
        yield pool


@pytest.mark.parametrize(
    ("start_method", "call"), cases([(of_many_types, {}), (numbers, {"chunksize": 7})], product(FUNCTIONS, WAYS))
)
def test_results_are_those_of_map(pool: ProcessPoolExecutor, call: tuple[Any, dict[str, int]]) -> None:
    fn, how = call
    found = list(pool.map(fn, range(3000), timeout=HANG, **how))
    assert found == list(map(fn, range(3000)))
    assert list(map(type, found)) == list(map(type, map(fn, range(3000))))


def test_of_several_iterables(pool: ProcessPoolExecutor) -> None:
    assert list(pool.map(tasks.add, range(3000), range(3000))) == list(range(0, 6000, 2))


@FAULTY
def test_each_item_has_its_own_error(pool: ProcessPoolExecutor, fn: Any, errors: dict[int, str]) -> None:
    found = list(pool.map(fn, range(2000), timeout=HANG, return_exceptions=True))
    assert {x: told(each) for x, each in enumerate(found) if isinstance(each, BaseException)} == errors
    good = [x for x in range(2000) if x not in errors]
    assert [found[x] for x in good] == [fn(x) for x in good]
    assert (pool.stats().failed, pool.stats().done) == (len(errors), 3000 - len(errors))


@pytest.mark.parametrize("then", [numbers, texts, often_another])
def test_a_death_costs_the_item_that_ran_and_none_runs_twice(
    pool: ProcessPoolExecutor, then: Any, tmp_path: Path
) -> None:
    file = tmp_path / "began"
    call = Bound(noted, str(file), then, 700)
    found = list(pool.map(call, range(1500), timeout=HANG, return_exceptions=True))
    assert isinstance(found[700], WorkerLost)
    assert found[:700] + found[701:] == [then(x) for x in range(1500) if x != 700]
    assert Counter(map(int, file.read_bytes().split())) == Counter(range(1500))


@pytest.mark.parametrize("then", [numbers, texts])
def test_a_slow_item_holds_up_none_before_it_nor_those_behind_it(
    pool: ProcessPoolExecutor, then: Any, gate: Gate
) -> None:
    results = pool.map(Bound(stopping, gate, then, 700), range(1500), timeout=HANG)
    assert list(islice(results, 700)) == [then(x) for x in range(700)]
    # All but that one are done, while it goes on: what was behind it has been taken back.
    eventually(lambda: pool.stats().done == 1000 + 1499)
    assert not gate.is_open
    gate.open()
    assert list(results) == [then(x) for x in range(700, 1500)]


def test_a_child_that_comes_back_from_an_item_says_nothing(pool: ProcessPoolExecutor) -> None:
    assert list(pool.map(Bound(forking, 300), range(1000), timeout=HANG)) == list(range(1000))


def test_what_items_log_comes_once(pool: ProcessPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    assert list(pool.map(logging_some, range(2000), timeout=HANG)) == list(range(2000))
    assert sorted(int(r.getMessage().split()[1]) for r in caplog.records if r.name == "tests.series") == list(
        range(0, 2000, 50)
    )


def test_a_map_that_is_given_up_half_way(pool: ProcessPoolExecutor) -> None:
    for _ in range(20):
        results = pool.map(numbers, range(5000))
        assert list(islice(results, 100)) == [-x for x in range(100)]
        del results
    assert pool.submit(numbers, 1).result(HANG) == -1


class Bound:
    """As functools.partial, known by its own type to the estimates."""

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        self.fn, self.args = fn, args

    def __call__(self, x: int) -> Any:
        return self.fn(*self.args, x)
