"""Quotas, restart intensity, backoff, estimates: decisions without a clock or a process."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor._policy import Backoff, Estimates, Quota, RestartIntensity, parse_bytes, positive

# --- sizes and seconds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("17b", 17),
        ("1kB", 1000),
        ("512MB", 512_000_000),
        ("2 GB", 2_000_000_000),
        ("1TB", 10**12),
        ("1KiB", 1024),
        ("1.5GiB", 1_610_612_736),
        (" 0.5 mib ", 524_288),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("value", ["", "MB", "ten MB", "1XB", "1 MBB", "-1MB", "0", "1e400MB", "nan MB", 0, -5])
def test_sizes_that_are_none_are_refused(value: int | str) -> None:
    with pytest.raises(ValueError, match="max_memory_per_child"):
        parse_bytes(value)


@pytest.mark.parametrize("value", [1.5, True, b"1MB"])
def test_a_size_is_an_int_or_text(value: object) -> None:
    with pytest.raises(TypeError, match="max_memory_per_child"):
        parse_bytes(value)  # type: ignore[arg-type]


def test_no_size_is_no_limit() -> None:
    assert parse_bytes(None) is None


@given(st.integers(min_value=1, max_value=1 << 60))
def test_bytes_stay_what_they_are(size: int) -> None:
    assert parse_bytes(size) == parse_bytes(str(size) if size < 1 << 50 else size) == size


def test_seconds_are_numbers_above_zero() -> None:
    assert positive(None, "timeout") is None
    assert positive(3, "timeout") == 3.0
    assert positive(0.25, "timeout") == 0.25
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            positive(value, "timeout")
    for wrong in ("1", True, b"1"):
        with pytest.raises(TypeError, match="timeout"):
            positive(wrong, "timeout")  # type: ignore[arg-type]


# --- quotas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "age", "reason"),
    [
        (0, 0.0, None),
        (9, 59.9, None),
        (10, 0.0, "max_tasks_per_child"),
        (11, 0.0, "max_tasks_per_child"),
        (0, 60.0, "max_age_per_child"),
        (10, 60.0, "max_tasks_per_child"),
    ],
)
def test_a_quota_names_what_is_exceeded(tasks: int, age: float, reason: str | None) -> None:
    assert Quota(tasks=10, age=60).exceeded(tasks=tasks, age=age) == reason


def test_without_a_quota_nothing_is_exceeded() -> None:
    assert Quota().exceeded(tasks=10**9, age=1e9) is None


def test_wrong_quotas_are_refused() -> None:
    with pytest.raises(ValueError, match="max_tasks_per_child"):
        Quota(tasks=0)
    with pytest.raises(TypeError, match="max_tasks_per_child"):
        Quota(tasks=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_age_per_child"):
        Quota(age=0)
    assert Quota(memory="1MB").memory == 1_000_000


# --- restarts -----------------------------------------------------------------------------------------------


def test_so_many_deaths_are_allowed_and_no_more() -> None:
    intensity = RestartIntensity(3, 10.0)
    assert [intensity.died(now) for now in (0.0, 1.0, 2.0, 3.0)] == [False, False, False, True]


def test_deaths_before_the_period_do_not_count() -> None:
    intensity = RestartIntensity(2, 10.0)
    assert not any(intensity.died(now) for now in (0.0, 5.0, 10.0, 15.0, 20.0))
    assert intensity.deaths == 2
    assert intensity.died(20.5)


def test_a_worker_that_works_forgives_all() -> None:
    intensity = RestartIntensity(1, 10.0)
    assert not intensity.died(0.0)
    intensity.forgive()
    assert intensity.deaths == 0
    assert not intensity.died(1.0)
    assert intensity.died(2.0)


def test_a_limit_of_none_at_all() -> None:
    assert RestartIntensity(0, 1.0).died(0.0)


def test_a_fresh_one_has_the_limits_and_no_deaths() -> None:
    intensity = RestartIntensity(1, 5.0)
    intensity.died(0.0)
    fresh = intensity.fresh()
    assert (fresh.limit, fresh.period, fresh.deaths) == (1, 5.0, 0)


@given(
    st.integers(0, 5),
    st.floats(0.1, 100.0),
    st.lists(st.floats(0.0, 50.0), max_size=40),
)
def test_it_is_true_exactly_when_more_than_the_limit_lie_within_the_period(
    limit: int, period: float, gaps: list[float]
) -> None:
    intensity = RestartIntensity(limit, period)
    now, deaths = 0.0, []
    for gap in gaps:
        now += gap
        deaths.append(now)
        assert intensity.died(now) == (sum(then > now - period for then in deaths) > limit)


@pytest.mark.parametrize(("limit", "period"), [(-1, 1.0), (1, 0.0), (1, -1.0), (1, float("nan"))])
def test_wrong_limits_are_refused(limit: int, period: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        RestartIntensity(limit, period)


def test_the_pause_doubles_up_to_its_most() -> None:
    backoff = Backoff(0.1, 1.0)
    assert [backoff.pause(deaths) for deaths in range(7)] == pytest.approx([0, 0, 0.1, 0.2, 0.4, 0.8, 1.0])
    assert backoff.pause(10**6) == 1.0


@given(st.floats(0, 10), st.floats(0, 1000), st.integers(0, 10_000))
def test_a_pause_never_shrinks_nor_exceeds_its_most(first: float, more: float, deaths: int) -> None:
    backoff = Backoff(first, first + more)
    assert 0 <= backoff.pause(deaths) <= backoff.pause(deaths + 1) <= first + more


def test_wrong_pauses_are_refused() -> None:
    for first, most in ((-0.1, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="first"):
            Backoff(first, most)


# --- estimates ----------------------------------------------------------------------------------------------


def function() -> None:
    pass


def other() -> None:
    pass


class Callable:
    def __call__(self) -> None:
        pass

    def method(self) -> None:
        pass


def test_calls_of_one_function_share_their_estimate() -> None:
    key = Estimates.key
    assert key(function) == key(partial(function)) == key(partial(partial(function), 1))
    assert key(function) != key(other)
    assert key(Callable().method) == key(Callable().method) == key(Callable.method)
    assert key(Callable()) == key(Callable())
    assert key(len) != key(sum)


def test_closures_of_one_body_share_theirs() -> None:
    def make(n: int) -> object:
        return lambda: n

    assert Estimates.key(make(1)) == Estimates.key(make(2))  # type: ignore[arg-type]


def test_what_has_not_come_back_has_no_estimate() -> None:
    estimates = Estimates()
    assert estimates.get("fn") is None
    estimates.learn("fn", 0.5)
    assert estimates.get("fn") == 0.5


def test_a_slow_call_counts_at_once_and_a_fast_one_little_by_little() -> None:
    estimates = Estimates()
    estimates.learn("fn", 0.001)
    estimates.learn("fn", 1.0)
    slow = estimates.get("fn")
    assert slow is not None
    assert slow >= 0.5
    estimates.learn("fn", 0.001)
    less = estimates.get("fn")
    assert less is not None
    assert slow / 2 < less < slow


def test_the_first_call_that_is_much_quicker_counts_for_those_before_it() -> None:
    estimates = Estimates()
    for seconds in (0.05, 0.06, 0.0001):  # the first two were the first calls of two workers
        estimates.learn("fn", seconds)
    assert estimates.get("fn") == 0.0001
    estimates.learn("fn", 0.05)
    estimates.learn("fn", 0.0001)  # only the first
    slow = estimates.get("fn")
    assert slow is not None
    assert slow > 0.01


def test_a_pause_among_quick_calls_hardly_counts() -> None:
    estimates = Estimates()
    estimates.learn_mean("fn", 1e-6, 1000)
    estimates.learn_mean("fn", 1e-3 / 50, 50)  # a millisecond for fifty: another process had the core
    quick = estimates.get("fn")
    assert quick is not None
    assert quick < 2e-6


def test_slow_calls_among_quick_ones_count_at_once() -> None:
    estimates = Estimates()
    estimates.learn_mean("fn", 1e-6, 1000)
    estimates.learn_mean("fn", 1.0, 1)
    slow = estimates.get("fn")
    assert slow is not None
    assert slow >= 0.5


def test_calls_that_are_quicker_than_was_known_are_believed() -> None:
    estimates = Estimates()
    estimates.learn("fn", 1e-4)
    for _ in range(10):
        estimates.learn_mean("fn", 1e-6, 100)
    quick = estimates.get("fn")
    assert quick is not None
    assert quick < 2e-6


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 100_000)), min_size=1))
def test_an_estimate_lies_between_the_shortest_and_the_longest(learnt: list[tuple[float, int]]) -> None:
    estimates = Estimates()
    for one, count in learnt:
        if count:
            estimates.learn_mean("fn", one, count)
        else:
            estimates.learn("fn", one)
    seconds = [one for one, _ in learnt]
    estimate = estimates.get("fn")
    assert estimate is not None
    assert min(seconds) <= estimate <= max(seconds) or estimate == pytest.approx(max(seconds))


def test_endlessly_many_functions_do_not_fill_the_memory() -> None:
    estimates = Estimates()
    for n in range(5000):
        estimates.learn(n, 1.0)
    known = sum(estimates.get(n) is not None for n in range(5000))
    assert 0 < known <= 512
    assert estimates.get(4999) == 1.0
