"""CPython's own tests of multiprocessing.Pool pass with ours: those of the Python that runs this."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.contract import cpython_names
from tests.support import ROOT

# What is private to multiprocessing.Pool.
EXCLUDED = {
    "_TestPool.test_make_pool": "reads len(pool._pool), the list of worker processes",
    "_TestPoolWorkerLifetime.test_pool_worker_lifetime": "reads pool._pool, calls pool._repopulate_pool()",
}
LIMIT = 60.0
SOURCE = cpython_names.source()
NAMES = cpython_names.names(SOURCE) if SOURCE else []

pytestmark = pytest.mark.skipif(SOURCE is None, reason="this Python was installed without its tests")


def test_the_tests_are_found() -> None:
    assert {name.partition(".")[0] for name in NAMES} == set(cpython_names.CLASSES)
    assert set(EXCLUDED) <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in EXCLUDED])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_cpython(method: str, name: str) -> None:
    code, output = run_apart(method, name)
    assert code == 0, output
    outcome = json.loads(output.splitlines()[-1])
    assert not outcome["problems"], output
    assert (outcome["ran"], outcome["skipped"]) == (1, [])


def run_apart(method: str, name: str) -> tuple[int, str]:
    """The exit code and all the output of a process that runs one test.  Nothing of it is left."""
    program = "from tests.contract import cpython_pool; cpython_pool.run()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, method, name, str(LIMIT)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        # At the limit the process shows its stacks and ends by itself; this is for a hang after that.
        output, _ = process.communicate(timeout=LIMIT + 30)
    except subprocess.TimeoutExpired:
        pytest.fail(f"does not end: {process.args}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        remove_semaphores(process.pid)
    return process.returncode, output


def remove_semaphores(pid: int) -> None:
    """A worker makes one when it imports CPython's module of tests. If a test terminates its pool just then, the file
    is there and no resource tracker knows of it yet."""
    for file in Path("/dev/shm").glob(f"sem.{cpython_names.semaphore_prefix(pid)[1:]}-*"):
        file.unlink(missing_ok=True)
