"""From nothing to a first result: import, construction, the first worker, one task.

Each time in an interpreter of its own that has imported nothing: ``benchmarks/first_result.py`` reads the
clock as its first act. The start of the interpreter itself is the same for all and is not counted.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.case import Absent, Case, Mark, Measure
from benchmarks.units import Unit

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "first_result.py"
ROWS = {
    "executor": ("executor", "default"),
    "executor, forkserver": ("executor", "forkserver"),
    "executor, fork": ("executor", "fork"),
    "executor, spawn": ("executor", "spawn"),
    "executor, loky": ("executor", "loky"),
    "concurrent.futures, forkserver": ("futures", "forkserver"),
    "concurrent.futures, fork": ("futures", "fork"),
    "concurrent.futures, spawn": ("futures", "spawn"),
    "multiprocessing.Pool, forkserver": ("multiprocessing", "forkserver"),
    "multiprocessing.Pool, fork": ("multiprocessing", "fork"),
    "loky": ("loky", "default"),
    "pebble, fork": ("pebble", "fork"),
    "deadpool, forkserver": ("deadpool", "forkserver"),
    "mpire, fork": ("mpire", "fork"),
    "joblib": ("joblib", "default"),
}
STANDARD = ("futures", "multiprocessing")


def first_result(package: str, method: str) -> Measure:
    """Seconds as the script itself saw them."""

    def measured(size: int) -> float:
        del size
        if package not in STANDARD and importlib.util.find_spec(package) is None:
            raise Absent(f"{package} is not installed")
        command = [sys.executable, "-P", "-W", "ignore", str(SCRIPT), package, method]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if not done.stdout:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no answer")
        return float(done.stdout)

    return measured


CASE = Case(
    name="cold",
    title="Cold start to the first result, import included",
    unit=Unit.TIME,
    subjects={label: first_result(*row) for label, row in ROWS.items()},
    size=1,
    quick=1,
    marks=tuple(
        Mark("at most", 1, f"concurrent.futures, {method}", subject=subject)
        for subject, method in (
            ("executor", "forkserver"),
            ("executor, fork", "fork"),
            ("executor, spawn", "spawn"),
        )
    ),
)
