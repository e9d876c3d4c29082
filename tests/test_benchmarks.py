"""The benchmark command: its arithmetic, its table, its picture, and one real run. Not what it measures."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.case import BEST_PEER, Case, Mark, Samples
from benchmarks.cases import NAMES
from benchmarks.chart import Panel, svg
from benchmarks.probe import load
from benchmarks.report import section
from benchmarks.units import Unit
from tests.support import ROOT


def case(*marks: Mark, higher_is_better: bool = True) -> Case:
    return Case("name", "Title", Unit.RATE, {}, 1, 1, higher_is_better, marks)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (61_234.0, Unit.RATE, "61,200/s"),
        (0.0000867, Unit.TIME, "86.7 µs"),
        (0.0104, Unit.TIME, "10.4 ms"),
        (2.5, Unit.TIME, "2.50 s"),
        (105.0, Unit.MEMORY, "105 B"),
        (4e6, Unit.MEMORY, "4.00 MB"),
        (0.0, Unit.MEMORY, "0.00 B"),
        (1.0449, Unit.RATIO, "1.045"),
        (0.704, Unit.SHARE, "70 %"),
    ],
)
def test_units(value: float, unit: Unit, text: str) -> None:
    assert unit.text(value) == text


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        (Mark("at least", 12, "slow"), "at least 12 times slow: 15, met"),
        (Mark("at least", 12, "fast"), "at least 12 times fast: 3, not met"),
        (Mark("at most", 0.05, "slow"), "at most 0.05 times slow: 15, not met"),
        (Mark("at least", 1.5, BEST_PEER), "at least 1.5 times the best peer: 3, met"),
        (Mark("at least", 400.0), "at least 400/s: 300/s, not met"),
        (Mark("at least", 12, "absent"), "at least 12 times absent: not measured"),
    ],
)
def test_marks(mark: Mark, sentence: str) -> None:
    medians = {"executor": 300.0, "slow": 20.0, "fast": 100.0}
    assert mark.sentence(mark.value(medians, higher_is_better=True), Unit.RATE) == sentence


def test_best_peer_is_the_lowest_where_less_is_better() -> None:
    medians = {"executor": 4.0, "slow": 20.0, "fast": 8.0}
    assert Mark("at most", 1, BEST_PEER).value(medians, higher_is_better=False) == 0.5


def test_section_has_a_row_for_each_subject_that_gave_figures() -> None:
    samples = {
        "executor": Samples([200.0, 100.0, 300.0]),
        "peer": Samples([50.0]),
        "gone": Samples(notes=["left out: gone is not installed"]),
    }
    text = section(case(Mark("at least", 3, "peer")), samples, "The machine.")
    assert text == (
        "### Title (`name`)\n\n"
        "|  | median | best | executor / it |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| executor | 200/s | 300/s |  |\n"
        "| peer | 50.0/s | 50.0/s | 4.00 |\n\n"
        "- mark: at least 3 times peer: 4, met\n\n"
        "- gone: left out: gone is not installed\n\n"
        "The machine."
    )


def test_chart_draws_bars_in_proportion_the_best_first() -> None:
    picture = svg([Panel(case(), {"peer <a>": 50.0, "executor": 200.0})], "caption")
    root = ElementTree.fromstring(picture)
    bars = [element for element in root if element.tag.endswith("rect")]
    words = [element.text for element in root if element.tag.endswith("text")]
    assert [bar.get("class") for bar in bars] == ["ours", "bar"]
    assert float(bars[0].get("width", 0)) == pytest.approx(4 * float(bars[1].get("width", 0)), abs=0.2)
    assert words == ["Title (more is better)", "executor", "200/s", "peer <a>", "50.0/s", "caption"]


@pytest.mark.parametrize("name", NAMES)
def test_every_mark_is_about_subjects_that_exist(name: str) -> None:
    benchmark = load(name)
    assert benchmark.name == name
    assert benchmark.baseline in benchmark.subjects
    for mark in benchmark.marks:
        assert {mark.subject, mark.against} - {None, BEST_PEER} <= set(benchmark.subjects)


def test_command(tmp_path: Path) -> None:
    picture = tmp_path / "chart.svg"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--svg", str(picture), "latency"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| executor | " in done.stdout, done.stdout
    assert "| raw socket pair | " in done.stdout, done.stdout
    assert "mark: at most 0.4 times concurrent.futures: " in done.stdout, done.stdout
    ElementTree.parse(picture)


def test_command_refuses_unknown_names() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such benchmark: nonsense" in done.stderr
