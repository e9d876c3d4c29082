"""``python -m executor top``: a live view of the pools of a running program (`_monitor` tells)."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import sys
import termios
import tty
from time import monotonic

from . import _rendezvous
from ._monitor import VARIABLE, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    State = dict[str, Any]

__all__ = ["NothingToShow", "frame", "top"]

_HOW = f"give its ProcessPoolExecutor monitor=True, or set {VARIABLE}=1 for it"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another screen, without a cursor; and back
_UNPRINTABLE = re.compile(r"[^ -~\u00a1-\ud7ff\ue000-\ufffd]")


class NothingToShow(Exception):
    """The message is a sentence for the user."""


def top(pid: int | None, *, once: bool, interval: float) -> str:
    """Show that program, or the only one there is; what is to be said at the end. Raises NothingToShow."""
    if not once and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NothingToShow("a live view needs a terminal; --once prints one frame")
    with _Source(pid if pid is not None else _the_only_one()) as source:
        if once:
            sys.stdout.write("\n".join(frame(source.state(), None, None)) + "\n")
            return ""
        return _live(source, interval)


# --- finding the program --------------------------------------------------------------------------------------------


def _the_only_one() -> int:
    try:
        pids = _rendezvous.programs()
    except PermissionError as error:
        raise NothingToShow(error) from None
    if not pids:
        raise NothingToShow(f"no program of yours is monitored; to see one, {_HOW}")
    if len(pids) > 1:
        several = ", ".join(f"{pid} ({_command(pid)})" for pid in pids)
        raise NothingToShow(f"several programs are monitored, name one of them: {several}")
    return pids[0]


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return "?"
    return _plain(shlex.join(words))


def _why_not(pid: int, error: OSError) -> str:
    """Why there is no connection to that program."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return f"there is no process {pid}"
    if owner != os.geteuid():
        return f"process {pid} belongs to another user ({_user(owner)}): only its owner can look"
    if isinstance(error, FileNotFoundError):
        return f"process {pid} is not monitored; to see it, {_HOW}"
    return f"process {pid} cannot be asked: {error}"


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class _Source:
    """A connection to a program."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._sock = _rendezvous.connect(pid)
        except ConnectionRefusedError:  # its socket is there, and nobody listens
            _rendezvous.programs()  # takes it away
            raise NothingToShow(f"process {pid} has ended") from None
        except OSError as error:
            raise NothingToShow(_why_not(pid, error)) from None
        self._file = self._sock.makefile("rb")

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._sock.close()

    def state(self) -> State:
        """What the pools do now. Raises NothingToShow when the program has ended."""
        try:
            self._sock.sendall(b"\n")
            line = self._file.readline()
        except TimeoutError:
            raise NothingToShow(f"process {self.pid} does not answer: it is stopped, or keeps the GIL") from None
        except OSError:
            line = b""
        if not line:
            raise NothingToShow(f"process {self.pid} has ended, or its pools have")
        state: State = json.loads(line)
        if state.get("version") != VERSION:
            raise NothingToShow(f"process {self.pid} runs another version of this package")
        return state


# --- the live view ----------------------------------------------------------------------------------------------------


def _live(source: _Source, interval: float) -> str:
    """Frames until ``q`` is pressed or the program ends. The terminal is left as it was, whatever ends this."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    state = source.state()
    handler = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        tty.setcbreak(terminal)
        _write(_ENTER)
        previous: State | None = None
        while True:
            size = shutil.get_terminal_size()
            lines = _cut(frame(state, previous, size.columns), size.lines - 1)
            # Each line is cleared behind its text and the rest of the screen at the end: nothing flickers.
            _write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "q: quit\x1b[J")
            if _quit_within(terminal, interval):
                return ""
            previous = state
            try:
                state = source.state()
            except NothingToShow as end:
                return str(end)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        _write(_LEAVE)
        signal.signal(signal.SIGTERM, handler)


def _cut(lines: list[str], room: int) -> list[str]:
    """What the window has room for."""
    if len(lines) <= room:
        return lines
    shown = max(0, room - 1)
    return [*lines[:shown], f"{len(lines) - shown} lines more"][:room]


def _quit_within(terminal: int, seconds: float) -> bool:
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        ready, _, _ = select.select([terminal], [], [], left)
        if ready and os.read(terminal, 64).lower() in (b"q", b"", b"\x04"):
            return True
    return False


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


# --- a frame ----------------------------------------------------------------------------------------------------------


def frame(state: State, previous: State | None, columns: int | None) -> list[str]:
    """The lines of one frame; rates are since ``previous``, or on average. ``columns``: None for no limit."""
    program = _plain(shlex.join(state["program"])) or "python"
    lines = [f"{program} (pid {state['pid']}), monitored for {_duration(state['age'])}"]
    earlier = previous["pools"] if previous is not None else []
    for number, pool in enumerate(state["pools"], 1):
        before = earlier[number - 1] if len(earlier) == len(state["pools"]) else None
        lines += ["", *_pool_lines(number, pool, before)]
    return [line[:columns] for line in lines]


def _pool_lines(number: int, pool: State, before: State | None) -> list[str]:
    ended = ", ".join(f"{count} {reason}" for reason, count in sorted(pool["restarts"].items()))
    retried = f", {pool['retried']} retried" if pool["retried"] else ""
    lines = [
        f"pool {number}: {len(pool['workers'])} of {pool['max_workers']} workers, by {pool['method']}"
        + (f"; ended: {ended}" if ended else ""),
        f"tasks: {pool['pending']} waiting, {pool['running']} running, {pool['done']} done, {pool['failed']} failed, "
        f"{pool['cancelled']} cancelled{retried}; {_rate(pool, before):.1f} a second",
    ]
    rows = [
        [
            str(worker["id"]),
            str(worker["pid"] or ""),
            worker["state"].lower(),
            f"{worker['memory'] / 1e6:.0f} MB",
            str(worker["tasks_done"]),
            _duration(worker["age"]),
            _duration(worker["task_seconds"]) if worker["task"] is not None else "",
            _plain(worker["task"] or ""),
        ]
        for worker in pool["workers"]
    ]
    return lines + _columns(["worker", "pid", "state", "memory", "done", "age", "for", "task"], rows)


def _rate(pool: State, before: State | None) -> float:
    """Tasks that ended in a second."""
    ended = pool["done"] + pool["failed"]
    if before is None or before["age"] >= pool["age"]:
        return float(ended / max(pool["age"], 1e-3))
    return float(max(0, ended - before["done"] - before["failed"]) / (pool["age"] - before["age"]))


def _columns(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Aligned: text to the left, all but the state and the task to the right."""
    if not rows:
        return []
    table = [heads, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    left = {heads.index("state"), heads.index("task")}
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _plain(text: str) -> str:
    """Names are the program's: they are not to command the terminal."""
    return _UNPRINTABLE.sub("?", text)
