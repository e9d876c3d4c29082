"""Reading the kernel's count of out-of-memory kills, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor._oom import OomKills, read_oom_kills

EVENTS = "low 0\nhigh 3\nmax 40\noom 2\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "cgroup").mkdir()
    return tmp_path


def put(machine: Path, name: str, text: str) -> None:
    path = machine / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(machine: Path) -> int | None:
    return read_oom_kills(str(machine / "proc"), str(machine / "cgroup"))


def test_version_2(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "0::/user.slice/app\n")
    put(machine, "cgroup/user.slice/app/memory.events", EVENTS.format(7))
    put(machine, "cgroup/memory.events", EVENTS.format(99))
    assert read(machine) == 7


def test_version_2_in_a_container_that_sees_itself_as_the_root(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "0::/\n")
    put(machine, "cgroup/memory.events", EVENTS.format(3))
    assert read(machine) == 3


def test_version_1(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "5:cpu,cpuacct:/job\n4:hugetlb,memory:/job\n0::/\n")
    put(machine, "cgroup/memory/job/memory.oom_control", CONTROL.format(4))
    put(machine, "cgroup/memory/memory.oom_control", CONTROL.format(99))
    assert read(machine) == 4


def test_version_1_in_a_container_that_has_its_own_part_mounted(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "4:memory:/docker/0123\n")
    put(machine, "cgroup/memory/memory.oom_control", CONTROL.format(5))
    assert read(machine) == 5


def test_a_kernel_whose_control_has_no_count(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "4:memory:/\n")
    put(machine, "cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")
    put(machine, "proc/vmstat", "pgfault 12345\noom_kill 6\nnumber 7\n")
    assert read(machine) == 6


def test_nothing_to_read(machine: Path) -> None:
    assert read(machine) is None
    put(machine, "proc/self/cgroup", "nonsense\n::\n0::/../..\n")
    put(machine, "proc/vmstat", "oom_kill\noom_kill many\n")
    assert read(machine) is None


def begun(count: int | None, monkeypatch: pytest.MonkeyPatch) -> OomKills:
    monkeypatch.setattr("executor._oom.read_oom_kills", lambda: count)
    kills = OomKills()
    kills.begin()
    return kills


def test_a_death_is_explained_by_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    kills = begun(2, monkeypatch)
    assert not kills.explains(2, now=10.0)
    assert kills.explains(3, now=10.1)
    assert not kills.explains(3, now=10.2)
    assert kills.explains(4, now=99.0)


def test_two_victims_that_are_counted_before_the_first_death_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kills = begun(0, monkeypatch)
    assert kills.explains(2, now=10.0)
    assert kills.explains(2, now=10.5)
    assert not kills.explains(2, now=10.6)


def test_what_was_left_over_explains_no_later_death(monkeypatch: pytest.MonkeyPatch) -> None:
    kills = begun(0, monkeypatch)
    assert kills.explains(5, now=10.0)
    assert not kills.explains(5, now=20.0)
    assert kills.explains(6, now=20.1)
    assert not kills.explains(6, now=20.2)


@pytest.mark.parametrize(("before", "after"), [(None, 1), (0, None), (None, None)])
def test_nothing_is_claimed_without_a_count(
    before: int | None, after: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not begun(before, monkeypatch).explains(after, now=10.0)


def test_what_was_counted_before_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kills = begun(1, monkeypatch)
    monkeypatch.setattr("executor._oom.read_oom_kills", lambda: 2)
    kills.begin()
    assert kills.explain_death()
    assert not kills.explain_death()
