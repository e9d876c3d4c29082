"""Which late workers are waited for: one that could run and has perhaps been given no core, not one that sleeps."""

from __future__ import annotations

import subprocess

import pytest

from executor._watch import _is_runnable
from executor._worker import Worker
from tests.support import eventually


@pytest.mark.parametrize(("script", "runs"), [("while :; do :; done", True), ("read line", False)])
def test_a_process_that_works_and_one_that_sleeps(script: str, runs: bool) -> None:
    worker = Worker(1, 0.0)
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE) as process:
        worker.pid = process.pid
        eventually(lambda: _is_runnable(worker) is runs)
        process.kill()
    assert not _is_runnable(worker)
