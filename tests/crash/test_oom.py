"""A worker that the kernel killed for want of memory is said to be that, and no other."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor, TaskTimeout, WorkerLost
from tests import deaths
from tests.support import HANG, START_METHODS, eventually, program

LIMIT = 192 << 20


def lost_by_sigkill(method: str) -> WorkerLost:
    with ProcessPoolExecutor(1, mp_context=method) as pool:
        error = pool.submit(deaths.die, "SIGKILL").exception(HANG)
    assert isinstance(error, WorkerLost)
    return error


def test_a_kill_that_the_kernel_has_counted(start_method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = itertools.count(3)
    monkeypatch.setattr("executor._oom.read_oom_kills", lambda: next(counts))
    lost = lost_by_sigkill(start_method)
    assert lost.out_of_memory
    assert lost.signal_name == "SIGKILL"
    assert "was killed by the kernel's out-of-memory killer (SIGKILL) while it ran tests.deaths.die" in str(lost)
    assert lost.attempts[0].cause == "was killed by the kernel's out-of-memory killer (SIGKILL)"


def test_a_kill_that_it_has_not_counted(start_method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor._oom.read_oom_kills", lambda: 3)
    lost = lost_by_sigkill(start_method)
    assert not lost.out_of_memory
    assert "ended by SIGKILL" in str(lost)


def test_no_other_death_asks_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("executor._oom.read_oom_kills", lambda: asked.append(1) or len(asked))  # type: ignore[func-returns-value]
    with ProcessPoolExecutor(1, task_timeout=0.2) as pool:
        assert isinstance(pool.submit(deaths.die, "SIGSEGV").exception(HANG), WorkerLost)
        assert isinstance(pool.submit(deaths.die, "exit-7").exception(HANG), WorkerLost)
        assert isinstance(pool.submit(deaths.hang).exception(HANG), TaskTimeout)
        assert pool.submit(os.getpid).result(HANG)
        pool.kill_workers()
    assert asked == [1]  # at the start


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A new cgroup inside this process's own, whose memory is limited."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    old = next((path for _, controllers, path in lines if "memory" in controllers.split(",")), None)
    new = next((path for _, controllers, path in lines if not controllers), "/")
    own = Path(f"/sys/fs/cgroup{new}" if old is None else f"/sys/fs/cgroup/memory{old}")
    folder = own / f"executor-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    try:
        try:
            (folder / ("memory.max" if old is None else "memory.limit_in_bytes")).write_text(str(LIMIT))
        except OSError as error:
            pytest.skip(f"the memory of a cgroup cannot be limited: {error}")
        for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):  # where there is swap
            if (folder / name).exists():
                (folder / name).write_text("0" if old is None else str(LIMIT))
        yield folder
    finally:
        eventually(lambda: removed(folder))


def removed(folder: Path) -> bool:
    """The kernel counts a process that has ended as a member for a moment longer."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


@pytest.mark.parametrize("method", START_METHODS)
def test_a_task_that_takes_all_memory(method: str, cgroup: Path, tmp_path: Path) -> None:
    with program("out_of_memory.py", str(cgroup), method, str(2 * LIMIT >> 20), directory=tmp_path) as running:
        code = running.wait()
        running.wait_family_gone()
    if "limit: not enforced" in running.out:
        pytest.skip("the limit of a cgroup is not enforced")
    assert code == 0, running.err
    first, second = running.out.splitlines()
    assert first.startswith("lost: True SIGKILL worker ")
    assert "killed by the kernel's out-of-memory killer (SIGKILL) while it ran take" in first
    assert second == "after: False SIGKILL"
