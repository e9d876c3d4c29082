"""Fixtures of all tests: the start methods, a gate, and the check that nothing is left behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leaks
from tests.support import START_METHODS, Gate, new_gate

# Workers under spawn and forkserver load the parent's __main__ once more.  Here that is pytest, some tenths
# of a second for each worker, and no test needs it: what is said of __main__ is tested with programs.
_main = sys.modules["__main__"]
_main.__spec__ = None
vars(_main).pop("__file__", None)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After every test: no process, thread, descriptor or file in /dev/shm more than before."""
    before = leaks.Snapshot.take()
    yield
    if leak := leaks.leaked_since(before):
        leaks.end(leak)
        pytest.fail(f"left behind:\n{leak}", pytrace=False)


@pytest.fixture(params=START_METHODS)
def start_method(request: pytest.FixtureRequest) -> str:
    """Every way to start a worker, one after the other."""
    return str(request.param)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Where a task can stop until the test opens it; see tests.support.Gate."""
    gate = new_gate(tmp_path)
    yield gate
    # After a test that failed before it did so: the executor that is shut down next waits for the task.
    gate.open()
