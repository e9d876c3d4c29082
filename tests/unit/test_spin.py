"""When a waiting thread looks for events and when it sleeps. The clock is a fake."""

from __future__ import annotations

from executor._spin import Spin, cores

EVENT = [(3, 1)]


class Poller:
    """Something comes so many seconds after each wait has begun. A poll without patience takes a microsecond."""

    def __init__(self) -> None:
        self.time = 0.0
        self.comes_after = 0.0
        self.slept = 0
        self.polled = 0
        self._due = 0.0

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if timeout == 0:
            self.polled += 1
            self.time += 1e-6
            return EVENT if self.time >= self._due else []
        self.slept += 1
        if timeout is not None and self.time + timeout < self._due:
            self.time += timeout
            return []
        self.time = max(self.time, self._due)
        return EVENT

    def wait(self, spin: Spin, longest: float | None = None, times: int = 1) -> list[tuple[int, int]]:
        events: list[tuple[int, int]] = []
        for _ in range(times):
            self._due = self.time + self.comes_after
            events = spin.wait(longest)
        return events


def make(comes_after: float) -> tuple[Poller, Spin]:
    poller = Poller()
    poller.comes_after = comes_after
    return poller, Spin(poller.poll, lambda: poller.time)


def test_what_comes_soon_is_seen_without_sleep() -> None:
    poller, spin = make(50e-6)
    assert poller.wait(spin, times=100) == EVENT
    assert poller.slept == 0


def test_what_takes_long_is_hardly_looked_for() -> None:
    poller, spin = make(0.01)
    assert poller.wait(spin, times=2000) == EVENT
    assert poller.polled < 12 * 110  # looks were given up after 2, 4, 8, ... sleeps


def test_when_it_comes_soon_again_looking_comes_back() -> None:
    poller, spin = make(0.01)
    poller.wait(spin, times=3000)
    poller.comes_after = 50e-6
    poller.wait(spin, times=100)
    poller.slept = 0
    assert poller.wait(spin, times=100) == EVENT
    assert poller.slept == 0


def test_what_comes_just_too_late_is_looked_for_now_and_then() -> None:
    poller, spin = make(150e-6)
    poller.wait(spin, times=10_000)
    assert poller.slept == 10_000
    assert poller.polled < 10_000 / 50 * 110


def test_it_waits_no_longer_than_it_was_asked_to() -> None:
    poller, spin = make(1.0)
    assert poller.wait(spin, 20e-6) == []
    assert poller.time < 60e-6


def test_there_is_a_core() -> None:
    assert cores() >= 1
