"""``python -m executor report``: the page of a trace, looked at with a real browser."""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import ProcessPoolExecutor, wait
from executor.__main__ import main
from tests import tasks
from tests.browser import COMMAND, Browser
from tests.support import HANG, ROOT, eventually, program

needs_browser = pytest.mark.skipif(COMMAND is None, reason="needs Chromium: a page is looked at in a browser")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path)
    yield browser
    browser.close()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A run with something of everything."""
    path = tmp_path / "run.json"
    with ProcessPoolExecutor(2, trace=path) as pool:
        list(pool.map(tasks.square, range(200)))
        futures = [
            pool.options(name="slowest").submit(tasks.pause, 0.3),
            pool.options(name="slow").submit(tasks.pause, 0.1),
            pool.submit(tasks.raise_value_error, "no <b>good</b>"),
            pool.submit(tasks.exit_with, 7),
            pool.options(timeout=0.2, name="</script><img src=x onerror=alert(1)>").submit(tasks.pause, 600),
        ]
        assert wait(futures, HANG).not_done == set()
    return path


def report(trace: Path) -> Path:
    page = trace.with_suffix(".html")
    assert main(["report", str(trace), "-o", str(page)]) == 0
    return page


# --- the page -----------------------------------------------------------------------------------------------------


@needs_browser
def test_the_page_tells_what_happened(trace: Path, browser: Browser) -> None:
    browser.open(report(trace))
    assert browser.text("h1") == "run.json"
    assert "205 runs of tasks" in browser.text("#summary")
    assert "202 ok, 1 error, 1 lost, 1 timeout" in browser.text("#summary")
    functions = {row[0]: row[1:] for row in browser.cells("#functions")}
    assert functions["tests.tasks.square"][0] == "200"
    assert functions["slow"][:2] == ["1", ""]
    assert functions["tests.tasks.raise_value_error"][:2] == ["1", "1"]
    bars = 'document.querySelectorAll("#functions tr:nth-child(%d) rect").length'
    names = [row[0] for row in browser.cells("#functions")]
    assert browser.ask(bars % (names.index("slow") + 1)) == 1
    assert browser.ask(bars % (names.index("tests.tasks.square") + 1)) >= 1
    assert browser.cells("#slowest")[0][1] == "slowest"
    failed = {row[1]: row[4:] for row in browser.cells("#failed")}
    assert failed["tests.tasks.raise_value_error"] == ["error", "ValueError: no <b>good</b>"]
    assert failed["tests.tasks.exit_with"][0] == "lost"
    assert "exit code 7" in failed["tests.tasks.exit_with"][1]
    assert failed["</script><img src=x onerror=alert(1)>"][0] == "timeout"
    assert len(failed) == 3
    ends = dict(browser.cells("#ends"))
    assert (ends["died"], ends["killed"]) == ("1", "1")
    shares = [float(row[2].removesuffix(" %")) for row in browser.cells("#worker-time")]
    assert [row[0] for row in browser.cells("#worker-time")][:2] == ["tasks", "start-up of workers"]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert shares[0] > 0
    assert {row[0] for row in browser.cells("#parent-time")} == {"pickling", "unpickling", "callbacks"}
    assert browser.complaints == []
    assert {address.partition(":")[0] for address in browser.requests} <= {"file", "data"}


# Where something is on the canvas: x of a moment, y of the row of a worker, in pixels of the window.
PLACE = """
(() => {
  const box = canvas.getBoundingClientRect(), index = data.name.indexOf(data.names.indexOf(%s));
  const y = AXIS + QUEUE + (rowOf.get(data.worker[index]) - top_ + .5) * ROW;
  return { x: box.left + x(data.began[index] + data.spent[index] / 2), y: box.top + y };
})()
"""


def place(browser: Browser, name: str) -> tuple[float, float]:
    where = browser.ask(PLACE % json.dumps(name))
    return where["x"], where["y"]


def span(browser: Browser) -> tuple[float, float]:
    return tuple(browser.ask("[+canvas.dataset.from, +canvas.dataset.to]"))  # type: ignore[return-value]


@needs_browser
def test_the_timeline_can_be_zoomed_moved_and_asked(trace: Path, browser: Browser) -> None:
    browser.open(report(trace))
    browser.ask("canvas.scrollIntoView()")
    whole = span(browser)
    assert whole[0] == 0
    seen = browser.text("#view")

    x, y = place(browser, "slowest")
    colour = browser.ask(
        "(([x, y]) => [...context.getImageData(x, y, 1, 1).data])"
        f"([{x} - canvas.getBoundingClientRect().left, {y} - canvas.getBoundingClientRect().top])"
    )
    assert colour[3] == 255
    assert colour[:3] not in ([255, 255, 255], [242, 242, 242])  # neither nothing nor an idle worker

    browser.mouse("mouseMoved", x, y)
    assert browser.ask('getComputedStyle(document.getElementById("tip")).display') == "block"
    hint = browser.text("#tip").splitlines()
    assert hint[0] == "slowest"
    assert hint[1].endswith(", ok")
    assert "took 3" in hint[2]
    browser.mouse("mouseMoved", 5, 5)
    assert browser.ask('getComputedStyle(document.getElementById("tip")).display') == "none"

    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
    eventually(lambda: span(browser) != whole)
    closer = span(browser)
    assert whole[0] < closer[0] < closer[1] < whole[1]
    assert browser.text("#view") != seen
    browser.mouse("mouseMoved", *place(browser, "slowest"))
    assert browser.text("#tip").startswith("slowest\n")  # it is still where the pointer was

    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", x - 60, y, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 60, y, button="left", clickCount=1)
    moved = span(browser)
    assert moved[0] > closer[0]
    assert moved[1] - moved[0] == pytest.approx(closer[1] - closer[0])

    browser.ask("canvas.focus()")
    browser.press("ArrowLeft")
    assert span(browser)[0] < moved[0]
    browser.press("+")
    assert span(browser)[1] - span(browser)[0] < moved[1] - moved[0]
    browser.ask('document.getElementById("all").click()')
    browser.settle()
    assert span(browser) == whole

    row = '[...document.querySelectorAll("#slowest tr")].find(row => row.cells[1].textContent == "slow")'
    took = float(browser.ask(f"{row}.cells[4].textContent").removesuffix(" ms"))
    browser.ask(f'{row}.querySelector("a").click()')
    browser.settle()
    assert browser.text("#tip").startswith("slow\n")
    assert span(browser)[1] - span(browser)[0] == pytest.approx(3000 * took, rel=0.01)
    assert browser.complaints == []


@needs_browser
def test_a_hundred_thousand_tasks(tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "many.json"
    with ProcessPoolExecutor(2, trace=path) as pool:
        assert sum(pool.map(operator.neg, range(100_000))) == -sum(range(100_000))
    browser.open(report(path))
    assert "100000 ok" in browser.text("#summary")
    assert browser.cells("#functions")[0][:2] == ["_operator.neg", "100000"]
    # Far fewer bars than tasks, and no more than there are pixels in the rows.
    width, rows = browser.ask("[canvas.clientWidth, rows.length]")
    assert 0 < int(browser.ask("canvas.dataset.drawn")) <= width * rows
    # Close enough, each task is a bar of its own.
    browser.ask("show(data.began[50000], data.began[50010] + data.spent[50010])")
    browser.settle()
    assert 5 <= int(browser.ask("canvas.dataset.drawn")) <= 40
    assert browser.complaints == []


@needs_browser
def test_more_workers_than_there_is_room_for(tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "run.json"
    with ProcessPoolExecutor(2, trace=path, max_tasks_per_child=1, mp_context="fork") as pool:
        assert list(pool.map(operator.neg, range(60))) == [-i for i in range(60)]
    browser.open(report(path))
    assert "; rows 1 to 40 of " in browser.text("#view")
    browser.ask("canvas.focus()")
    browser.press("ArrowDown")
    assert "; rows 2 to 41 of " in browser.text("#view")
    assert dict(browser.cells("#ends"))["max_tasks_per_child"] == "60"
    assert browser.complaints == []


@needs_browser
def test_a_trace_in_which_nothing_ran(tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "run.json"
    with ProcessPoolExecutor(1, trace=path):
        pass
    browser.open(report(path))
    assert "0 runs of tasks, 0 workers" in browser.text("#summary")
    assert browser.text("#slowest") == "No task has run."
    assert browser.complaints == []


@needs_browser
def test_the_trace_of_a_program_that_was_killed(tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "run.json"
    with program("traces.py", str(path), directory=tmp_path) as running:
        running.wait_line("done")
        eventually(lambda: path.read_text().count('"task"') >= 10)
    whole_lines = path.read_text()
    for cut in (0, 7):  # after a line, and in one
        path.write_text(whole_lines[: len(whole_lines) - cut])
        browser.open(report(path))
        assert "The program was killed, or runs still" in browser.text("#summary")
        assert browser.cells("#functions")[0][0] == "tests.tasks.square"
        assert int(browser.ask("canvas.dataset.drawn")) > 0
    assert browser.complaints == []


# --- the command --------------------------------------------------------------------------------------------------


def run(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "executor", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=HANG)


def test_the_command_writes_the_page_beside_the_trace(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, trace=tmp_path / "run.json") as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
    ended = run("report", "run.json", directory=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "run.html\n", "")
    assert "<canvas" in (tmp_path / "run.html").read_text()


BAD: dict[str, tuple[Any, str]] = {
    "missing": (None, "cannot be read: No such file or directory"),
    "empty": ("", "is not JSON"),
    "text": ("hello", "is not JSON"),
    "broken": ("[\n{,\n", "is not JSON"),
    "binary": (b"\xff\xfe\x00", "is not JSON"),
    "number": ("5", "is not a trace of this package"),
    "object": ("{}", "is not a trace of this package"),
    "other trace": ('[{"name": "x", "ph": "X", "ts": 1}]', "is not a trace of this package"),
    "other version": (
        '[{"name": "executor_trace", "ph": "M", "args": {"version": 99}}]',
        "is a trace of another version of this package (99)",
    ),
    "changed": (
        '[{"name": "executor_trace", "ph": "M", "args": {"version": 1}}, {"name": "x", "cat": "task"}]',
        "is a trace of this package that was changed (KeyError('args'))",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_sentence_and_exit_code_2(case: str, tmp_path: Path) -> None:
    content, sentence = BAD[case]
    if content is not None:
        (tmp_path / "bad.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = run("report", "bad.json", directory=tmp_path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == f"python -m executor report: bad.json {sentence}\n"
    assert not (tmp_path / "bad.html").exists()


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, trace=tmp_path / "run.json"):
        pass
    ended = run("report", "run.json", "-o", "no/page.html", directory=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == ("python -m executor report: no/page.html cannot be written: No such file or directory\n")


def test_a_wrong_command_line(tmp_path: Path) -> None:
    assert run(directory=tmp_path).returncode == 2
    assert run("nonsense", directory=tmp_path).returncode == 2
    help_ = run("--help", directory=tmp_path)
    assert help_.returncode == 0
    assert "report" in help_.stdout
