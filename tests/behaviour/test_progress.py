"""Bars of maps, and what tasks report."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from executor import Future, ProcessPoolExecutor, SoftTimeout, _current, _progress, report_progress
from tests import deaths, tasks
from tests.support import HANG, Gate, eventually

pytest.importorskip("tqdm")


def report(done: float, total: float | None, gate: Gate) -> str:
    report_progress(done, total)
    gate.stop()
    return "done"


def report_and_pass(number: int) -> int:
    report_progress(1, 2)
    return number


def report_all(times: int) -> int:
    for _ in range(times):
        report_progress(1, 1)
    return times


def report_for_ever() -> None:
    _progress._REPORT_EVERY = 0.0
    while True:
        report_progress(1, 2)
        time.sleep(0.0001)


def report_without_descriptors() -> str:
    deaths.close_every_descriptor()
    report_progress(1, 2)
    return "done"


def report_from_a_thread() -> None:
    thread = threading.Thread(target=report_progress, args=(1, 2))
    thread.start()
    thread.join()


def report_after_fork() -> int:
    pid = os.fork()
    if pid == 0:
        report_progress(99, 100)
        os._exit(0)
    os.waitpid(pid, 0)
    report_progress(1, 2)
    return 1


def refuse_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


class Screen:
    """What is on standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    def shows(self, words: str) -> None:
        eventually(lambda: words in self.text)


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str]) -> Screen:
    return Screen(capsys)


def test_a_bar_counts_and_tells_failures(start_method: str, screen: Screen) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        results = list(pool.map(refuse_odd, range(6), progress="halves", return_exceptions=True))
    assert results[::2] == [0, 2, 4]
    assert "halves:   0%|" in screen.text
    last = screen.text.rsplit("\r", 1)[1]
    assert "halves: 100%|" in last
    assert " 6/6 [" in last
    assert "failed=3]" in last
    assert "it/s" in last


def test_running_tasks_count_in_part(start_method: str, screen: Screen, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        results = pool.map(report, [1], [4], [gate], progress=True)
        screen.shows(" 0.25/1 [")
        gate.open()
        assert list(results) == ["done"]
        screen.shows(" 1/1 [")


def test_items_count_when_they_are_done_not_when_they_are_fetched(screen: Screen) -> None:
    with ProcessPoolExecutor(1) as pool:
        results = pool.map(tasks.square, range(3), progress=True)
        screen.shows(" 3/3 [")
        assert list(results) == [0, 1, 4]


def test_results_that_nobody_fetches(screen: Screen) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.map(tasks.square, range(3), progress=True)
    screen.shows(" 3/3 [")


def test_the_number_of_items_of_a_generator_is_known_at_its_end(screen: Screen) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert sum(pool.map(tasks.square, (n for n in range(4)), progress=True)) == 14
    assert "0it [" in screen.text
    screen.shows(" 4/4 [")


def test_the_shortest_of_several_iterables(screen: Screen) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert list(pool.map(tasks.add, range(9), [1, 2, 3], progress=True)) == [1, 3, 5]
    assert "0%|          | 0/3 [" in screen.text


def test_a_map_that_ends_with_an_error_shows_where(screen: Screen) -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(ValueError, match="1 is odd"):
        list(pool.map(refuse_odd, range(4), progress=True, chunksize=4))
    assert screen.text.endswith("\n")
    assert "failed=" in screen.text


@pytest.mark.parametrize("generator", [False, True])
def test_unordered(generator: bool, screen: Screen) -> None:
    items: Any = (n for n in range(4)) if generator else range(4)
    with ProcessPoolExecutor(1) as pool:
        results = pool.map_unordered(refuse_odd, items, progress="any order")
        assert next(results) == 0
        with pytest.raises(ValueError, match="1 is odd"):
            next(results)
        assert next(results) == 2
        with pytest.raises(ValueError, match="3 is odd"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
    last = screen.text.rsplit("\r", 1)[1]
    assert "any order: 100%|" in last
    assert " 4/4 [" in last
    assert "failed=2]" in last


def test_unordered_counts_in_part(screen: Screen, gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        results = pool.map_unordered(report, [1], [4], [gate], progress=True)
        screen.shows(" 0.25/1 [")
        gate.open()
        assert list(results) == ["done"]


def test_options_and_a_class_with_a_submit_of_its_own(screen: Screen) -> None:
    class Own(ProcessPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return super().submit(fn, *args, **kwargs)

    with Own(1) as pool:
        assert list(pool.map(tasks.square, range(5), progress="own")) == [0, 1, 4, 9, 16]
        screen.shows(" 5/5 [")
        assert list(pool.options(retries=1).map(tasks.square, range(7), progress="options"))[-1] == 36
        assert set(pool.options(retries=1).map_unordered(tasks.square, range(8), progress="more")) >= {49}
    assert " 7/7 [" in screen.text
    assert " 8/8 [" in screen.text


def test_bars_of_iterators_that_are_dropped_are_closed(screen: Screen) -> None:
    with ProcessPoolExecutor(1) as pool:
        for each in (pool.map, pool.map_unordered):
            results: Iterator[int] = each(tasks.square, range(10_000), buffersize=2, progress=True)
            assert next(results) == 0
            assert pool._session.bars
            del results
            gc.collect()
            eventually(lambda: not pool._session.bars)
        assert pool.submit(tasks.square, 3).result(HANG) == 9


def test_the_program_goes_on_where_the_bar_cannot_be_drawn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        broken = False

        def write(self, text: str) -> int:
            if self.broken:
                raise OSError("no screen")
            return len(text)

        def flush(self) -> None:
            pass

    stream = Broken()
    with ProcessPoolExecutor(1) as pool:
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "executor"):
            patch.setattr(sys, "stderr", stream)
            results = pool.map(tasks.square, range(500), progress=True)
            stream.broken = True
            assert sum(results) == sum(n * n for n in range(500))
        assert [record.getMessage() for record in caplog.records] == ["a progress bar cannot be drawn"]


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with ProcessPoolExecutor(1) as pool:
        for each in (pool.map, pool.map_unordered):
            with pytest.raises(
                ImportError, match=r'^progress= needs the package tqdm: pip install "executor-pool\[pro'
            ):
                each(tasks.square, range(3), progress=True)
        assert list(pool.map(tasks.square, range(3))) == [0, 1, 4]


def test_what_is_no_label() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError, match="progress must be a bool or the bar's label"):
        pool.map(tasks.square, range(3), progress=5)  # type: ignore[arg-type]


# --- reports ------------------------------------------------------------------------------------------------


def test_a_future_has_what_its_task_reports(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        future = pool.submit(report, 3, 10, gate)
        eventually(lambda: future.progress == (3, 10))
        assert not future.done()
        gate.open()
        assert future.result(HANG) == "done"
        assert future.progress == (3, 10)


def test_a_count_without_a_total(gate: Gate) -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(report, 7, None, gate)
        eventually(lambda: future.progress == (7, None))
        gate.open()


def test_a_future_without_reports() -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(tasks.square, 3)
        assert future.result(HANG) == 9
        assert future.progress is None
    assert Future[int]().progress is None


def test_each_future_has_its_own(gate: Gate) -> None:
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(report, n, 10, gate) for n in (1, 2)]
        eventually(lambda: [future.progress for future in futures] == [(1, 10), (2, 10)])
        gate.open()


@pytest.mark.parametrize("task", [report_from_a_thread, report_after_fork])
def test_who_may_report(task: Any) -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(task)
        future.result(HANG)
        assert future.progress == (1, 2)


def test_a_report_that_cannot_be_sent_is_left_out() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(report_without_descriptors).result(HANG) == "done"


def test_reports_between_outcomes_that_wait_to_be_sent() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert list(pool.map(report_and_pass, range(2000))) == list(range(2000))
        futures = [pool.submit(report_all, 100) for _ in range(50)]
        assert [future.result(HANG) for future in futures] == [100] * 50


def test_a_soft_timeout_in_the_middle_of_a_report() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(report_all, 1).result(HANG) == 1  # the import of this module is not to be interrupted
        pid = pool.submit(os.getpid).result(HANG)
        for _ in range(10):
            assert isinstance(pool.options(soft_timeout=0.02).submit(report_for_ever).exception(HANG), SoftTimeout)
        assert pool.submit(os.getpid).result(HANG) == pid


def test_outside_of_a_task_it_does_nothing() -> None:
    report_progress(1, 2)
    report_progress("not looked at")  # type: ignore[arg-type]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is sent, as in a worker."""
    notes: list[tuple[Any, ...]] = []
    monkeypatch.setattr(_current, "_send_note", lambda *note: notes.append(note))
    monkeypatch.setattr(_progress, "_reported_at", 0.0)
    monkeypatch.setattr(_progress, "_completed", None)
    return notes


def test_reports_are_limited_but_for_the_last(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    place: list[int] = []
    monkeypatch.setattr(_current, "_place", lambda: tuple(place))
    times = [10.0, 10.04, 10.06, 10.07, 10.08, 10.09, 10.11, 10.2, 10.3]
    for now, done in zip(times, [1, 2, 3, 4, 10, 5, 10, 6, 10], strict=True):
        monkeypatch.setattr(_progress, "monotonic", lambda now=now: now)
        report_progress(done, 10)
    assert [note[1] for note in sent] == [1, 3, 10, 6, 10]
    place.append(1)  # another task
    report_progress(11, 10)
    report_progress(12, 10)
    assert [note[1] for note in sent] == [1, 3, 10, 6, 10, 11]


def test_numbers_of_any_kind(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_REPORT_EVERY", 0.0)
    report_progress(Fraction(1, 2), 2)
    report_progress(True)
    assert sent == [("progress", 0.5, 2), ("progress", 1.0, None)]
    with pytest.raises(TypeError):
        report_progress("3", 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("done", "total", "share"), [(1, 4, 0.25), (5, 4, 1.0), (-1, 4, 0.0), (3, None, 0.0), (0, 0, 0.0)]
)
def test_fractions(done: float, total: float | None, share: float) -> None:
    assert _progress.fraction(done, total) == share
