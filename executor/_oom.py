"""Whether it was the kernel's out-of-memory killer that has killed a worker.

It tells nobody whom it killed; but it counts its victims, for each cgroup. A worker that died by a SIGKILL which was
not ours, while the count grew, was probably one. Probably: it may have been another process of the same cgroup.
"""

from __future__ import annotations

import os
from time import monotonic

__all__ = ["OomKills", "read_oom_kills"]

_OTHERS_WITHIN = 2.0  # seconds in which further deaths may be explained by kills that were counted with the first


def read_oom_kills(proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> int | None:
    """How many processes of this one's cgroup the kernel has killed for want of memory; None if it does not tell.

    cgroup v1 and v2 are looked at, else the count of the whole machine.
    """
    for path in [*_files_of_cgroup(proc, cgroups), os.path.join(proc, "vmstat")]:
        for line in _read(path).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.strip().isdecimal():
                return int(value)
    return None


def _files_of_cgroup(proc: str, cgroups: str) -> list[str]:
    """Where the count may be. A container sees its own cgroup as the root; its path may be the one outside."""
    old, new = [], []
    for line in _read(os.path.join(proc, "self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            folder = os.path.join(cgroups, "memory")
            old = [os.path.join(folder + path, "memory.oom_control"), os.path.join(folder, "memory.oom_control")]
        elif not controllers:
            new = [os.path.join(cgroups + path, "memory.events"), os.path.join(cgroups, "memory.events")]
    return old + new


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class OomKills:
    """What the kernel has counted, and how much of it is explained by deaths that are known."""

    def __init__(self) -> None:
        self._known: int | None = None
        self._begun = False
        self._left = 0  # counted, and not yet the reason of a death
        self._left_until = 0.0

    def begin(self) -> None:
        """Note what was counted before there was a worker."""
        if not self._begun:
            self._begun = True
            self._known = read_oom_kills()

    def explain_death(self) -> bool:
        """A worker was killed, and not by us: whether the kernel has counted one more."""
        return self.explains(read_oom_kills(), monotonic())

    def explains(self, count: int | None, now: float) -> bool:
        """The decision. Several victims may be counted before the death of the first of them is seen."""
        if count is None or self._known is None:
            return False
        left = self._left if now < self._left_until else 0
        if count > self._known:
            left += count - self._known
            self._left_until = now + _OTHERS_WITHIN
            self._known = count
        self._left = max(0, left - 1)
        return left > 0
