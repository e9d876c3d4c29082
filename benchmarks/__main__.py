"""The command: ``python -m benchmarks [--quick] [--rounds N] [--svg FILE] [names]``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks import rounds, storm
from benchmarks.case import Case, Samples
from benchmarks.cases import NAMES
from benchmarks.chart import Panel, svg
from benchmarks.machine import Machine
from benchmarks.probe import load
from benchmarks.report import medians_of, section

CHARTED = ("throughput", "latency", "map")
ALL = (*NAMES, storm.NAME)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the executor beside its peers. Prints one Markdown table a benchmark.",
        epilog=f"Benchmarks: {', '.join(ALL)}. Without names, all of them.",
    )
    parser.add_argument("names", nargs="*", metavar="names", help="which benchmarks")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds: a look, not a figure")
    parser.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds (default 5, quick 2)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help=f"also draw {', '.join(CHARTED)} as bars")
    parser.add_argument("--tasks", type=int, metavar="N", help="storm: how many (default 10,000, quick 500)")
    parser.add_argument("--every", type=float, default=0.05, metavar="S", help="storm: seconds between kills")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in ALL]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(ALL)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.svg and not set(CHARTED) & set(options.names or ALL):
        parser.error(f"--svg draws {', '.join(CHARTED)}: name one of them")
    return options


def progress(words: str) -> None:
    """One line of what goes on, on the error stream; replaced by the next on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
    else:
        print(words, file=sys.stderr, flush=True)


def measure(case: Case, number: int, quick: bool) -> dict[str, Samples]:
    """Run one case and print its section."""
    before = Machine.now()
    samples = rounds.run(case, number, quick, progress)
    machine = Machine.now().sentence(before.load, number)
    if quick:
        machine = f"Quick run. {machine}"
    print(section(case, samples, machine), end="\n\n", flush=True)
    return samples


def main() -> int:
    """Measure what was asked for. A mark that is not met is a finding, not an error."""
    options = parse()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a cold start is not to compile what is installed
    number = options.rounds or (2 if options.quick else 5)
    panels = []
    for name in options.names or ALL:
        if name == storm.NAME:
            tasks = options.tasks or (500 if options.quick else 10_000)
            print(storm.run(storm.Settings(tasks, options.every), progress), end="\n\n", flush=True)
            continue
        case = load(name)
        medians = medians_of(measure(case, number, options.quick))
        if name in CHARTED and medians:
            panels.append(Panel(case, medians))
    if options.svg and panels:
        now = Machine.now()
        caption = f"{now.date}, {now.cores} cores, {now.python}, median of {number} rounds"
        options.svg.write_text(svg(panels, caption))
    return 0


if __name__ == "__main__":
    sys.exit(main())
