"""How far an imap reads ahead: a pure policy, with the clock as an argument."""

from __future__ import annotations

import pytest

from executor._pool_feed import LookAhead


def after(ahead: LookAhead, items: int, every: float) -> LookAhead:
    """As when so many items were done, one ``every`` so many seconds."""
    for n in range(items):
        ahead.item_done(n * every)
    return ahead


def test_it_begins_with_two_items_for_each_process() -> None:
    ahead = LookAhead(3)
    assert not ahead.reached(5, 5)
    assert ahead.reached(6, 6)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 60.0])
def test_long_items_stay_at_two_for_each_process(seconds: float) -> None:
    assert after(LookAhead(2), 100, seconds).in_flight == 4


def test_short_items_are_taken_by_the_hundred() -> None:
    assert after(LookAhead(4), 100, 0.0001).in_flight == pytest.approx(200, rel=0.1)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e-6])
def test_there_is_a_limit_for_each_process(seconds: float) -> None:
    ahead = after(LookAhead(2), 200, seconds)
    assert ahead.in_flight == 2 * 128
    assert ahead.held == 2 * 512
    assert ahead.reached(0, 2 * 512)


def test_it_follows_items_that_become_long() -> None:
    ahead = after(LookAhead(2), 100, 0.0001)
    for n in range(50):
        ahead.item_done(1.0 + n)
    assert ahead.in_flight == 4


def test_reading_goes_on_when_half_is_used_up() -> None:
    ahead = LookAhead(4)
    assert not ahead.running_low(5, 8)
    assert ahead.running_low(4, 8)


def test_results_that_nobody_takes_stop_the_reading() -> None:
    ahead = LookAhead(2)
    assert ahead.held == 16
    assert ahead.reached(0, 16)
    assert not ahead.running_low(0, 15)
    assert ahead.running_low(0, 14)


def test_more_may_be_held_of_what_is_in_memory_already() -> None:
    ahead = LookAhead(2, held=10_000)
    assert not ahead.reached(0, 9_999)
    assert ahead.reached(0, 10_000)
    assert ahead.reached(4, 4)


@pytest.mark.parametrize("processes", [1, 2, 64])
def test_whoever_stops_goes_on_when_all_is_done_and_taken(processes: int) -> None:
    for every in (0.0, 0.001, 10.0):
        assert after(LookAhead(processes), 100, every).running_low(0, 0)
