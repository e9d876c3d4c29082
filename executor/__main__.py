"""``python -m executor``: looks at what pools do, or did.

report TRACE [-o PAGE]   a page about a trace that was recorded with ``trace=``
top [PID] [--once]       a live view of the pools of a running program, where ``monitor=True`` was given

Exit code 0; 2, with one sentence on standard error; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code. What a command needs is imported when it runs."""
    given = _parser().parse_args(arguments)
    code: int = given.run(given)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m executor", description="Look at what pools do, or did.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report = commands.add_parser("report", help="make a page of a trace", description="Make a page of a trace.")
    report.add_argument("trace", help="the file that was given as trace= or to trace()")
    report.add_argument("-o", "--output", metavar="PAGE", help="where to write it (default: TRACE with .html)")
    report.set_defaults(run=_report)
    text = "Show the pools of a running program, live. q quits."
    top = commands.add_parser("top", help="show the pools of a running program", description=text)
    top.add_argument("pid", type=int, nargs="?", help="the program (default: the only one that is monitored)")
    top.add_argument("--once", action="store_true", help="print one frame and end")
    top.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between frames (default 1)")
    top.set_defaults(run=_top)
    return parser


def _refuse(given: argparse.Namespace, reason: object) -> int:
    sys.stderr.write(f"python -m executor {given.command}: {reason}\n")
    return 2


def _report(given: argparse.Namespace) -> int:
    from ._report import write_report
    from ._trace_reader import UnreadableTrace

    try:
        page = write_report(given.trace, given.output)
    except UnreadableTrace as reason:
        return _refuse(given, reason)
    sys.stdout.write(f"{page}\n")
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("is to be from 0.05 to 3600 seconds")
    return seconds


def _top(given: argparse.Namespace) -> int:
    from ._top import NothingToShow, top

    try:
        said = top(given.pid, once=given.once, interval=given.interval)
    except NothingToShow as reason:
        return _refuse(given, reason)
    except KeyboardInterrupt:
        return 130
    if said:
        sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
