"""What a forked child must not share with its parent.

A child that keeps the parent's end of a worker's socket or lifeline would keep that worker alive after the parent
has died, and would hide the end of the file from it. So every descriptor that is the parent's alone is listed
here and is closed first thing in any child made by fork: in workers of the fork start method, and in children
that the program makes by itself.
"""

from __future__ import annotations

import os
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class _Forkable(Protocol):
        def after_fork_in_child(self) -> None: ...


__all__ = ["disown", "on_fork_in_child", "own"]

_fds: set[int] = set()
_callbacks: weakref.WeakSet[_Forkable] = weakref.WeakSet()
_registered = False


def own(fd: int) -> int:
    """This descriptor is for this process alone. Returns it."""
    global _registered
    if not _registered:
        _registered = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork_in_child)
    _fds.add(fd)
    return fd


def disown(fd: int) -> int:
    """To be called before the descriptor is closed: its number may be in use again at once. Returns it."""
    _fds.discard(fd)
    return fd


def on_fork_in_child(owner: _Forkable) -> None:
    """Call ``owner.after_fork_in_child()`` in every forked child, for as long as the owner lives."""
    _callbacks.add(owner)


def _after_fork_in_child() -> None:
    for fd in _fds:
        try:
            os.close(fd)
        except OSError:
            pass
    _fds.clear()
    for owner in list(_callbacks):
        owner.after_fork_in_child()
    _callbacks.clear()
