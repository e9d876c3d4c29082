"""``monitor=True`` and ``python -m executor top``: another program looks."""

from __future__ import annotations

import gc
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor, WorkerManager
from tests import tasks
from tests.support import HANG, ROOT, Gate, eventually, in_forked_child, kill, program


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the sockets, of this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("EXECUTOR_MONITOR", raising=False)
    return tmp_path / "executor"


def sockets(place: Path) -> list[str]:
    return sorted(os.listdir(place)) if place.exists() else []


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "executor", "top", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, timeout=HANG)


def refused(*arguments: str) -> str:
    """The sentence."""
    ended = top("--once", *arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    return line.removeprefix("python -m executor top: ")


# --- a frame ------------------------------------------------------------------------------------------------------


def test_what_a_frame_shows(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, monitor=True) as pool:
        assert pool.submit(tasks.raise_value_error, "no").exception(HANG) is not None
        assert pool.submit(tasks.exit_with, 3).exception(HANG) is not None
        running = [pool.options(name=f"long one {i}").submit(gate.stop) for i in range(2)]
        gate.wait_arrivals(2)
        waiting = [pool.submit(tasks.nothing) for _ in range(3)]
        ended = top("--once")
        workers = {str(worker.pid): worker for worker in pool.stats().workers}
        gate.open()
        for future in [*running, *waiting]:
            future.result(HANG)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert f"(pid {os.getpid()})" in lines[0]
    assert lines[2] == f"pool 1: 2 of 2 workers, by {start_method}; ended: 1 died"
    assert lines[3].startswith("tasks: 3 waiting, 2 running, 0 done, 2 failed, 0 cancelled; ")
    assert lines[4].split() == ["worker", "pid", "state", "memory", "done", "age", "for", "task"]
    rows = [re.split(r" {2,}", line.strip()) for line in lines[5:]]
    assert {row[1] for row in rows} == set(workers)
    for row in rows:
        assert row[0] == str(workers[row[1]].id)
        assert row[2] == "busy"
        assert re.fullmatch(r"[1-9]\d* MB", row[3])
        assert re.fullmatch(r"\d+\.\d s", row[6])
    assert {row[7] for row in rows} == {"long one 0", "long one 1"}


def test_all_pools_of_a_program_are_shown() -> None:
    with ProcessPoolExecutor(1, monitor=True) as first, ProcessPoolExecutor(3, monitor=True):
        assert first.submit(tasks.add, 1, 2).result(HANG) == 3
        text = top("--once").stdout
    assert "pool 1: 1 of 1 workers" in text
    assert "pool 2: 0 of 3 workers" in text


def test_a_borrowed_pool_is_shown_until_its_workers_end(place: Path) -> None:
    with WorkerManager(1) as manager:
        with ProcessPoolExecutor(manager=manager, monitor=True) as pool:
            assert pool.submit(tasks.add, 1, 2).result(HANG) == 3
        assert "pool 1: 1 of 1 workers" in top("--once").stdout
    assert sockets(place) == []


def test_a_name_cannot_command_the_terminal(gate: Gate) -> None:
    with ProcessPoolExecutor(1, monitor=True) as pool:
        running = pool.options(name="a\x1b[2Jb\nc").submit(gate.stop)
        gate.wait_arrivals()
        text = top("--once").stdout
        gate.open()
        running.result(HANG)
    assert "a?[2Jb?c" in text
    assert "\x1b" not in text


# --- on and off ---------------------------------------------------------------------------------------------------


def monitor_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "executor-monitor"]


def test_it_is_off_unless_asked_for(place: Path) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(tasks.add, 1, 2).result(HANG) == 3
        assert monitor_threads() == []
        assert not place.exists()


@pytest.mark.parametrize(("value", "monitor", "on"), [("1", None, True), ("0", None, False), ("1", False, False)])
def test_the_environment(
    value: str, monitor: bool | None, on: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXECUTOR_MONITOR", value)
    with ProcessPoolExecutor(1, monitor=monitor):
        assert sockets(place) == ([f"{os.getpid()}.sock"] if on else [])
        assert monitor_threads() == (["executor-monitor"] if on else [])


def test_only_the_owner_can_open_the_directory(place: Path) -> None:
    before = os.umask(0)
    try:
        with ProcessPoolExecutor(1, monitor=True):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
    finally:
        os.umask(before)


@pytest.mark.parametrize("what", ["others may open it", "a link", "a file"])
def test_a_directory_that_is_not_safe_is_not_used(
    what: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if what == "a link":
        (tmp_path / "elsewhere").mkdir(0o700)
        place.symlink_to("elsewhere")
    elif what == "a file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o750)
    with pytest.raises(PermissionError, match=r"is not a directory|its mode is to be 0700"):
        ProcessPoolExecutor(1, monitor=True)
    assert str(place) in refused()
    # The environment is not the program's: its tasks run all the same.
    monkeypatch.setenv("EXECUTOR_MONITOR", "1")
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(tasks.add, 1, 2).result(HANG) == 3
    [record] = caplog.records
    assert record.getMessage().startswith("EXECUTOR_MONITOR=1 is in vain: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_used(place: Path) -> None:
    place.mkdir(0o700)
    os.chown(place, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        ProcessPoolExecutor(1, monitor=True)
    assert refused() == f"{place} belongs to another user"


# --- nothing stays behind -----------------------------------------------------------------------------------------


def test_the_socket_goes_with_the_last_pool(place: Path) -> None:
    with ProcessPoolExecutor(1, monitor=True):
        with ProcessPoolExecutor(1, monitor=True):
            pass
        assert sockets(place) == [f"{os.getpid()}.sock"]
    assert sockets(place) == []
    eventually(lambda: monitor_threads() == [])
    with ProcessPoolExecutor(1, monitor=True):
        assert sockets(place) == [f"{os.getpid()}.sock"]


def test_a_pool_that_is_dropped_is_shown_no_more(place: Path) -> None:
    pool = ProcessPoolExecutor(1, monitor=True)
    assert sockets(place) != []
    del pool
    gc.collect()  # what is inside refers to itself
    eventually(lambda: sockets(place) == [])


@pytest.mark.parametrize("how", ["exit", "ctrl-c"])
def test_a_program_that_ends_leaves_no_socket(how: str, place: Path, tmp_path: Path) -> None:
    with program("monitored.py", how, directory=tmp_path) as running:
        running.wait_line("ready")
        if how == "ctrl-c":
            running.signal(signal.SIGINT)
        running.wait()
    assert sockets(place) == []


@pytest.mark.parametrize("who", ["the next program", "whoever looks"])
def test_what_a_killed_program_leaves_is_removed(who: str, place: Path, tmp_path: Path) -> None:
    with program("monitored.py", "wait", directory=tmp_path) as running:
        running.wait_line("ready")
        running.signal(signal.SIGKILL)
        running.wait()
        running.wait_family_gone()
        assert sockets(place) == [f"{running.pid}.sock"]
    (place / f".{running.pid}.new").touch()  # one that was killed at its start
    if who == "whoever looks":
        assert refused() == (
            "no program of yours is monitored; to see one, "
            "give its ProcessPoolExecutor monitor=True, or set EXECUTOR_MONITOR=1 for it"
        )
        assert sockets(place) == []
    else:
        with ProcessPoolExecutor(1, monitor=True):
            assert sockets(place) == [f"{os.getpid()}.sock"]


def test_a_forked_child_leaves_the_socket_to_its_parent(place: Path) -> None:
    with ProcessPoolExecutor(1, monitor=True) as pool:
        assert in_forked_child(pool.shutdown) == "returned None"
        assert in_forked_child(lambda: ProcessPoolExecutor(1, monitor=True).shutdown()) == "returned None"
        assert sockets(place) == [f"{os.getpid()}.sock"]
        assert pool.submit(tasks.add, 1, 2).result(HANG) == 3
        assert f"(pid {os.getpid()})" in top("--once").stdout


def test_a_child_that_exits_leaves_the_socket_to_its_parent(place: Path, tmp_path: Path) -> None:
    with program("monitored.py", "child", directory=tmp_path) as running:
        running.wait_line("child gone")
        assert sockets(place) == [f"{running.pid}.sock"]
        assert f"(pid {running.pid})" in top("--once").stdout


# --- nothing to show ----------------------------------------------------------------------------------------------


def test_several_programs(tmp_path: Path) -> None:
    with (
        program("monitored.py", "wait", directory=tmp_path) as first,
        program("monitored.py", "wait", directory=tmp_path) as second,
    ):
        first.wait_line("ready")
        second.wait_line("ready")
        sentence = refused()
        assert sentence.startswith("several programs are monitored, name one of them: ")
        for running in (first, second):
            assert re.search(rf"\b{running.pid} \(\S*python\S* \S*monitored\.py wait\)", sentence)
            assert f"(pid {running.pid})" in top("--once", str(running.pid)).stdout


def test_a_process_that_is_not_monitored(place: Path) -> None:
    assert refused(str(os.getpid())).startswith(f"process {os.getpid()} is not monitored; to see it, ")
    with ProcessPoolExecutor(1, monitor=True), subprocess.Popen(["sleep", "600"]) as other:
        assert refused(str(other.pid)).startswith(f"process {other.pid} is not monitored; to see it, ")
        kill(other.pid)


def test_a_process_that_is_not_there(place: Path, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as other:
        other.wait()
    assert refused(str(other.pid)) == f"there is no process {other.pid}"
    with program("monitored.py", "wait", directory=tmp_path) as running:
        running.wait_line("ready")
    assert sockets(place) == [f"{running.pid}.sock"]
    assert refused(str(running.pid)) == f"process {running.pid} has ended"
    assert sockets(place) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_process_of_another_user() -> None:
    with subprocess.Popen(["sleep", "600"], user=65534) as other:
        assert re.fullmatch(
            rf"process {other.pid} belongs to another user \(\w+\): only its owner can look", refused(str(other.pid))
        )
        kill(other.pid)


def test_a_live_view_needs_a_terminal() -> None:
    ended = top()
    assert ended.returncode == 2
    assert ended.stderr == "python -m executor top: a live view needs a terminal; --once prints one frame\n"


@pytest.mark.parametrize("arguments", [["x"], ["--interval", "0"], ["--interval", "soon"]])
def test_a_wrong_command_line(arguments: list[str]) -> None:
    ended = top(*arguments)
    assert ended.returncode == 2
    assert "error: " in ended.stderr


# --- the live view ------------------------------------------------------------------------------------------------


class Terminal:
    """``top`` in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(sys.executable, command("--interval", "0.1", *arguments), environment())
            finally:
                os._exit(127)
        # The child's side; what it was set to can be read here too.
        self.before = termios.tcgetattr(self._fd)
        self.text = ""

    def wait_for(self, text: str) -> None:
        """Until it was printed after what was waited for last."""
        limit = time.monotonic() + HANG
        while text not in self.text:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, limit - time.monotonic()))
            assert ready, f"{text!r} does not come: {self.text[-1000:]!r}"
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # the other side is closed
                data = b""
            assert data, f"ended without {text!r}: {self.text[-1000:]!r}"
            self.text += data.decode()
        self.text = self.text.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait(self) -> int:
        """The exit code."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def settings(self) -> list[object]:
        return termios.tcgetattr(self._fd)

    def close(self) -> None:
        if self.pid:
            kill(self.pid)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


def test_the_live_view_follows_and_q_quits(gate: Gate) -> None:
    with ProcessPoolExecutor(1, monitor=True) as pool:
        first = pool.options(name="the first").submit(gate.stop)
        gate.wait_arrivals()
        terminal = Terminal()
        try:
            terminal.wait_for("\x1b[?1049h\x1b[?25l")
            terminal.wait_for("the first")
            assert terminal.settings() != terminal.before
            gate.open()
            assert first.result(HANG) is None
            terminal.wait_for("1 done")
            terminal.wait_for("idle")
            terminal.type("q")
            terminal.wait_for("\x1b[?25h\x1b[?1049l")
            assert terminal.settings() == terminal.before
            assert terminal.wait() == 0
        finally:
            terminal.close()


@pytest.mark.parametrize(("how", "code"), [("\x03", 130), (signal.SIGTERM, 143)])
def test_however_it_is_ended_the_terminal_is_as_before(how: str | signal.Signals, code: int) -> None:
    with ProcessPoolExecutor(1, monitor=True):
        terminal = Terminal()
        try:
            terminal.wait_for("q: quit")
            if isinstance(how, str):
                terminal.type(how)
            else:
                os.kill(terminal.pid, how)
            terminal.wait_for("\x1b[?25h\x1b[?1049l")
            assert terminal.settings() == terminal.before
            assert terminal.wait() == code
            assert "Traceback" not in terminal.text
        finally:
            terminal.close()


def test_the_end_of_the_program_ends_the_view(tmp_path: Path) -> None:
    with program("monitored.py", "wait", directory=tmp_path) as running:
        running.wait_line("ready")
        terminal = Terminal(str(running.pid))
        try:
            terminal.wait_for("q: quit")
            running.signal(signal.SIGKILL)
            terminal.wait_for("\x1b[?25h\x1b[?1049l")
            terminal.wait_for(f"process {running.pid} has ended, or its pools have")
            assert terminal.settings() == terminal.before
            assert terminal.wait() == 0
        finally:
            terminal.close()


def test_a_monitor_that_nobody_asks_does_nothing() -> None:
    with ProcessPoolExecutor(1, monitor=True) as pool:
        assert top("--once").returncode == 0
        [thread] = [thread for thread in threading.enumerate() if thread.name == "executor-monitor"]
        status = Path(f"/proc/self/task/{thread.native_id}/status")

        def sleeps_while_tasks_run() -> bool:
            before = woken(status)
            assert pool.submit(tasks.pause, 0.5).result(HANG) == 0.5
            return woken(status) == before

        eventually(sleeps_while_tasks_run)  # at first it may have to see the viewer go


def woken(status: Path) -> str:
    [line] = [line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches")]
    return line
