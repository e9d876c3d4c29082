"""One measurement in a fresh process, whose arguments are the case, the subject and the size.

Prints one line of JSON: ``{"value": ...}``, or ``{"absent": why}`` or ``{"failed": why}``. A process of its
own keeps what one pool leaves behind (threads, imported modules, grown heaps) out of another's figures,
and lets a pool that hangs be ended.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

from benchmarks.case import Absent, Case


def load(name: str) -> Case:
    """The case in ``benchmarks/cases/NAME.py``."""
    case = importlib.import_module(f"benchmarks.cases.{name}").CASE
    assert isinstance(case, Case)
    return case


def measured(name: str, subject: str, size: int) -> dict[str, object]:
    """The outcome of one measurement, ready for JSON."""
    try:
        return {"value": load(name).subjects[subject](size)}
    except Absent as absent:
        return {"absent": str(absent)}
    except ModuleNotFoundError as error:
        return {"absent": f"{error.name} is not installed"}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}


def say(facts: dict[str, object]) -> None:
    """One line of JSON, in one write: whoever reads takes what it gets for the whole."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, print, and leave without any clean-up: a broken pool's exit hooks may hang."""
    name, subject, size = sys.argv[1:]
    say(measured(name, subject, int(size)))
    os._exit(0)
