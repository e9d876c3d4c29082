"""The names of CPython's tests of multiprocessing.Pool, read from their source: to import it has effects."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

CLASSES = ("_TestPool", "_TestPoolWorkerErrors", "_TestPoolWorkerLifetime")


def source() -> Path | None:
    """None where Python was installed without its tests."""
    found = find_spec("test") and find_spec("test._test_multiprocessing")
    return Path(found.origin) if found and found.origin else None


def names(path: Path) -> list[str]:
    """CLASS.TEST for each."""
    return [
        f"{case.name}.{test.name}"
        for case in ast.parse(path.read_text("utf-8")).body
        if isinstance(case, ast.ClassDef) and case.name in CLASSES
        for test in case.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test")
    ]


def semaphore_prefix(pid: int) -> str:
    """How multiprocessing names the semaphores of a process that runs one of the tests, and of its workers."""
    return f"/mp-{pid}"
