"""How programs end: their workers go with them, and their work is finished or dropped as it should be."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support import cases, program, wait_gone

# The promise is two seconds.  A busy machine may be late; who stays for its task stays ten minutes.
SOON = 10.0


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "_exit"])
def test_workers_do_not_outlive_their_parent(start_method: str, how: str, tmp_path: Path) -> None:
    with program("parent_dies.py", start_method, how, directory=tmp_path) as run:
        run.wait_line("ready")
        if how != "_exit":
            run.signal(getattr(signal, how))
        run.wait()
        run.wait_family_gone(SOON)


EVERYWHERE, ONCE = ["initializing", "holding the GIL"], ["starting", "stopped reading", "children"]


@pytest.mark.parametrize(("start_method", "scene"), cases(EVERYWHERE, ONCE))
def test_workers_do_not_outlive_a_killed_parent_whatever_they_do(start_method: str, scene: str, tmp_path: Path) -> None:
    with program("parent_dies.py", start_method, scene, directory=tmp_path) as run:
        run.wait_line("ready")
        run.signal(signal.SIGKILL)
        run.wait()
        run.wait_family_gone(SOON)


WAITS = ["without with", "map", "as_completed", "wait", "end of with", "shutdown", "standard wait"]


@pytest.mark.parametrize("waits", WAITS)
def test_one_ctrl_c_ends_the_program(waits: str, tmp_path: Path) -> None:
    assert_ends_by_ctrl_c("forkserver", waits, tmp_path)


@pytest.mark.parametrize(
    ("start_method", "waits"), cases(["result", "ignores SIGTERM"], ["many pending", "large argument"])
)
def test_one_ctrl_c_under_every_start_method(start_method: str, waits: str, tmp_path: Path) -> None:
    assert_ends_by_ctrl_c(start_method, waits, tmp_path)


def assert_ends_by_ctrl_c(method: str, waits: str, directory: Path) -> None:
    with program("ctrl_c.py", method, waits, directory=directory) as run:
        run.wait_line("ready")
        run.signal_group(signal.SIGINT)
        # The tasks take ten minutes.
        assert run.wait(SOON) == -signal.SIGINT, run.err
        run.wait_family_gone(SOON)
        assert run.err.count("Traceback (most recent call last)") == 1, run.err
        assert run.err.count("KeyboardInterrupt") == 1, run.err
        assert run.err.splitlines()[-1] == "KeyboardInterrupt"
        assert run.out.splitlines() == ["ready"]


IN_ASYNCIO = ["gather", "plain with", "in another task", "amap", "task group", "without with", "end of with"]


@pytest.mark.parametrize(("start_method", "waits"), cases(["result"], IN_ASYNCIO))
def test_one_ctrl_c_ends_an_asyncio_program(start_method: str, waits: str, tmp_path: Path) -> None:
    with program("ctrl_c_asyncio.py", start_method, waits, directory=tmp_path) as run:
        run.wait_line("ready")
        run.signal_group(signal.SIGINT)
        assert run.wait(SOON) == -signal.SIGINT, run.err
        run.wait_family_gone(SOON)
        # asyncio's own: what ended the main task, and the KeyboardInterrupt that it makes of it.
        assert run.err.count("Traceback (most recent call last)") == 2, run.err
        assert run.err.splitlines()[-1] == "KeyboardInterrupt"
        assert run.out.splitlines() == ["ready"]


@pytest.mark.parametrize("waits", ["result", "in another task", "end of with"])
def test_ctrl_c_in_asyncio_that_is_caught_leaves_no_worker(waits: str, tmp_path: Path) -> None:
    with program("ctrl_c_asyncio.py", "forkserver", waits, "caught", directory=tmp_path) as run:
        run.wait_line("ready")
        run.signal_group(signal.SIGINT)
        assert run.wait_line("workers") == "[]"
        assert run.wait(SOON) == 0
        assert run.err == ""


@pytest.mark.parametrize(("start_method", "verb"), cases(["terminate_workers"], ["kill_workers"]))
def test_a_program_that_ends_its_workers_on_ctrl_c(start_method: str, verb: str, tmp_path: Path) -> None:
    with program("ctrl_c.py", start_method, verb, directory=tmp_path) as run:
        run.wait_line("ready")
        run.signal_group(signal.SIGINT)
        assert run.wait(SOON) == 0, run.err
        assert run.err == ""
        assert run.out.splitlines() == ["ready", "ended its workers"]
        run.wait_family_gone(SOON)


WAYS, OTHER_WAYS = ["falls off", "shutdown"], ["no reference", "sys.exit", "exception", "in a thread"]


@pytest.mark.parametrize(("start_method", "way"), cases(WAYS, OTHER_WAYS))
def test_pending_work_is_finished_at_the_end_of_the_program(start_method: str, way: str, tmp_path: Path) -> None:
    done = tmp_path / "done"
    with program("ends_with_pending.py", start_method, way, str(done), directory=tmp_path) as run:
        assert run.wait() == {"sys.exit": 5, "exception": 1}.get(way, 0), run.err
        assert done.read_text().split() == ["main"] + ["task"] * 10
        if way != "exception":
            assert run.err == ""
        run.wait_family_gone()


def test_submit_from_an_atexit_function_is_refused(tmp_path: Path) -> None:
    with program("submits_at_exit.py", directory=tmp_path) as run:
        assert run.wait() == 0, run.err
        assert run.out.splitlines() == ["RuntimeError: cannot schedule new futures after interpreter shutdown"]
        assert run.err == ""
        run.wait_family_gone()


def test_a_worker_that_hangs_at_its_own_exit_does_not_hold_up_the_program(tmp_path: Path) -> None:
    with program("hangs_at_worker_exit.py", directory=tmp_path) as run:
        pid = int(run.wait_line("worker"))
        assert run.wait() == 0, run.err
        wait_gone(pid)
        run.wait_family_gone()
