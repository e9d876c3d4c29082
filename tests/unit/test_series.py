"""Results gathered in shared memory: what is there after every step, whenever the worker dies."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from executor._messages import HEADER, Kind
from executor._series import PICKLED, Series, is_series, load_numbers, pickles, stamps, unsent_series
from executor._status import ITEM, RUNNING, SERIES, SERIES_BYTES, StatusBlock

LEASE = 7


class Records:
    """In the place of the worker's outcomes."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int, bytes, int, int]] = []

    def put(self, lease: int, kind: int, data: bytes, started: int = 0, duration: int = 0) -> None:
        self.records.append((lease, kind, bytes(data), started, duration))


@pytest.fixture
def block() -> Iterator[StatusBlock]:
    block = StatusBlock()
    block.words[RUNNING] = LEASE
    yield block
    block.close()


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def series(block: StatusBlock, records: Records) -> Iterator[Series]:
    series = Series(block, records)  # type: ignore[arg-type]
    yield series
    for view in [*series._slots.values(), series._table, series._stamps]:  # a worker's last as long as the process
        view.release()


def values_of(kind: int, data: bytes | memoryview) -> list[Any]:
    return list(map(pickle.loads, pickles(data))) if kind == Kind.PICKLES else load_numbers(kind, data)


def unsent(block: StatusBlock) -> tuple[int, list[Any]] | None:
    """The first item, and the results, that the parent would find now."""
    data = unsent_series(block)
    if not data:
        return None
    word, meta, _, _ = HEADER.unpack_from(data)
    kind, size = meta & 0x7F, meta >> 8
    assert word & 0xFFFFFFFF == LEASE
    return word >> 32, values_of(kind, memoryview(data)[32 : 32 + size])


def gather(series: Series, block: StatusBlock, values: list[Any], first: int = 0) -> None:
    """As a worker does it, up to where it works on the item behind them."""
    block.words[ITEM] = first
    word = LEASE | first << 32
    if isinstance(values[0], (str, tuple)):
        assert series.begin_pickles(word, pickle.dumps(values[0]), 100, 0)
        for item, value in enumerate(values[1:], first + 1):
            block.words[ITEM] = item
            assert series.add(pickle.dumps(value))
    else:
        assert series.begin(word, values[0], 100, 0)
        for item, value in enumerate(values[1:], first + 1):
            block.words[ITEM] = item
            series.slots[item - first] = value
        series.count = len(values)
    block.words[ITEM] = first + len(values)


ROWS: list[list[Any]] = [
    [1, -5, 0, 2**63 - 1, -(2**63)],
    [1.5, -0.0, math.inf, 5e-324],
    [True, False, True],
    [None, None],
    ["a", "", "ä" * 100],
    [(1, "a"), (None,)],
]


@pytest.mark.parametrize("values", ROWS)
def test_what_was_gathered_is_found_unsent(series: Series, block: StatusBlock, values: list[Any]) -> None:
    gather(series, block, values, first=3)
    found = unsent(block)
    assert found is not None
    assert found[0] == 3
    assert list(map(repr, found[1])) == list(map(repr, values))  # -0.0 is not 0.0, True is not 1


@pytest.mark.parametrize("value", [5, "five"])
def test_and_when_it_began(series: Series, block: StatusBlock, value: object) -> None:
    word = LEASE | 3 << 32
    if value == 5:
        series.begin(word, value, 4711, 4800)
    else:
        series.begin_pickles(word, pickle.dumps(value), 4711, 4800)
    block.words[ITEM] = 4
    started, duration = HEADER.unpack_from(unsent_series(block))[2:]
    assert (started, duration) == (4711, 0)


@pytest.mark.parametrize("values", ROWS)
def test_the_end_makes_a_record_of_it(series: Series, block: StatusBlock, records: Records, values: list[Any]) -> None:
    gather(series, block, values, first=3)
    series.end(150)
    ((word, kind, data, started, duration),) = records.records
    assert (word, started, duration) == (LEASE | 3 << 32, 100, 50)
    assert is_series(kind)
    assert list(map(repr, values_of(kind, data))) == list(map(repr, values))
    assert unsent(block) is None
    assert series.type is None


@pytest.mark.parametrize("values", ROWS)
def test_an_item_that_works_is_not_in_it(series: Series, block: StatusBlock, values: list[Any]) -> None:
    gather(series, block, values)
    block.words[ITEM] = len(values) - 1  # the last has stored its result and not yet made way for the next
    found = unsent(block)
    assert found is not None
    assert list(map(repr, found[1])) == list(map(repr, values[:-1]))


def test_the_first_result_counts_when_the_next_item_begins(series: Series, block: StatusBlock) -> None:
    assert series.begin(LEASE, 5, 0, 0)
    assert unsent(block) is None
    block.words[ITEM] = 1
    assert unsent(block) == (0, [5])


def test_between_put_and_end_it_is_found_twice_never_not_at_all(series: Series, block: StatusBlock) -> None:
    found = []

    class Looks(Records):
        def put(self, *record: Any) -> None:
            found.append(unsent(block))

    series._outcomes = Looks()  # type: ignore[assignment]
    gather(series, block, [1, 2])
    series.end(0)
    assert found == [(0, [1, 2])]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "a", (), b"", 1j])
def test_what_is_no_plain_number_begins_none(series: Series, block: StatusBlock, value: Any) -> None:
    assert not series.begin(LEASE, value, 0, 0)
    assert block.words[SERIES] == 0
    assert series.type is None


def test_numbers_of_a_subclass_stay_what_they_are(series: Series) -> None:
    class Number(int):
        pass

    assert not series.begin(LEASE, Number(5), 0, 0)


def test_a_large_pickle_begins_none(series: Series, block: StatusBlock) -> None:
    assert not series.begin_pickles(LEASE, bytes(SERIES_BYTES), 0, 0)
    assert block.words[SERIES] == 0


@pytest.mark.parametrize("size", [0, 1, 100, 10_000])
def test_pickles_are_added_until_there_is_no_room(series: Series, block: StatusBlock, size: int) -> None:
    assert series.begin_pickles(LEASE, bytes(size), 0, 0)
    while series.add(bytes(size)):
        assert series.count < SERIES_BYTES
    block.words[ITEM] = series.count
    data = unsent_series(block)
    assert [len(part) for part in pickles(memoryview(data)[32:])] == [size] * series.count


def test_it_is_full_before_there_is_no_room(series: Series, block: StatusBlock) -> None:
    assert series.begin(LEASE, 0, 0, 0)
    while not series.is_full():
        for _ in range(32):
            series.slots[series.count] = series.count
            series.count += 1
    block.words[ITEM] = series.count
    assert unsent(block) == (0, list(range(series.count)))


def test_the_end_of_none_is_nothing(series: Series, records: Records) -> None:
    assert series.end(0)
    assert records.records == []


def test_it_tells_whether_it_had_but_a_few(series: Series, block: StatusBlock) -> None:
    gather(series, block, [1, 2])
    assert not series.end(0)
    gather(series, block, [1] * 20)
    assert series.end(0)


def test_another_lease_has_begun(series: Series, block: StatusBlock) -> None:
    gather(series, block, [1, 2])
    block.words[RUNNING] = LEASE + 1
    assert unsent_series(block) == b""


@pytest.mark.parametrize("values", ROWS)
def test_a_worker_that_has_long_gone_on(series: Series, block: StatusBlock, values: list[Any]) -> None:
    gather(series, block, values)
    block.words[ITEM] = 2 * SERIES_BYTES  # read after its series had ended
    assert unsent_series(block) == b""
    block.words[ITEM] = SERIES_BYTES // 3
    unsent_series(block)  # whatever it is, it is given up: SERIES has changed


def test_pickled_is_a_type_of_its_own(series: Series) -> None:
    assert series.begin_pickles(LEASE, b"", 0, 0)
    assert series.type is PICKLED


@pytest.mark.parametrize("values", ROWS)
def test_when_each_ended(series: Series, block: StatusBlock, records: Records, values: list[Any]) -> None:
    series.stamped = True
    word = LEASE | 3 << 32
    pickled = isinstance(values[0], (str, tuple))
    block.words[ITEM] = 3
    if pickled:
        assert series.begin_pickles(word, pickle.dumps(values[0]), 100, 110)
    else:
        assert series.begin(word, values[0], 100, 110)
    for number, value in enumerate(values[1:], 1):
        block.words[ITEM] = 3 + number
        if pickled:
            assert series.add(pickle.dumps(value))
        else:
            series.slots[number] = value
            series.count += 1
        series.stamp(110 + 10 * number)
    block.words[ITEM] = 3 + len(values)
    data = unsent_series(block)
    _, meta, _, _ = HEADER.unpack_from(data)
    unsent_ends, unsent_payload = stamps(memoryview(data)[HEADER.size : HEADER.size + (meta >> 8)])
    series.end(500)
    ((_, kind, data, _, _),) = records.records
    ends, payload = stamps(data)
    assert kind == meta & 0xFF == (kind & Kind.ALONE) | Kind.STAMPED
    assert ends == unsent_ends == [110 + 10 * number for number in range(len(values))]
    assert list(map(repr, values_of(kind & Kind.ALONE, payload))) == list(map(repr, values))
    assert bytes(unsent_payload) == bytes(payload)
