"""CPython's own tests of multiprocessing.Pool, bound to ours: test_cpython_pool.py runs each in a process.

python -c "from tests.contract import cpython_pool; cpython_pool.run()" START_METHOD CLASS.TEST LIMIT

Workers import this module too, to find the classes whose methods are tasks.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import sys
import unittest
from typing import Any

from test import _test_multiprocessing as cpython
from test import support
from test.support import script_helper

import executor
from tests.contract.cpython_names import CLASSES, semaphore_prefix


def make_pool(*args: Any, **kwargs: Any) -> executor.Pool:
    """In the place of multiprocessing.Pool, with the start method under test."""
    return executor.Pool(*args, context=multiprocessing.get_context(), **kwargs)


def bound(name: str) -> type[unittest.TestCase]:
    """The class as CPython runs it with processes, but for the pool."""
    bases = (getattr(cpython, name), cpython.ProcessesMixin, unittest.TestCase)
    cases = {"__module__": __name__, "__qualname__": name, "Pool": staticmethod(make_pool)}
    return type(name, bases, cases)


globals().update({name: bound(name) for name in CLASSES})


def with_our_pool(script: str) -> str:
    assert "from multiprocessing import Pool" in script
    return script.replace("from multiprocessing import Pool", "from executor import Pool")


def substitute() -> None:
    assert_python_ok = script_helper.assert_python_ok

    def run_with_our_pool(flag: str, script: str) -> Any:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        return assert_python_ok(flag, with_our_pool(script), PYTHONPATH=paths)

    script_helper.assert_python_ok = run_with_our_pool
    multiprocessing.Pool = make_pool


def run() -> None:
    """Run one test; the last line of the output tells how it went."""
    method, name, limit = sys.argv[1:]
    faulthandler.dump_traceback_later(float(limit), exit=True)
    multiprocessing.current_process()._config["semprefix"] = semaphore_prefix(os.getpid())
    multiprocessing.set_start_method(method, force=True)
    substitute()
    suite = unittest.defaultTestLoader.loadTestsFromName(name, sys.modules[__name__])
    result = unittest.TestResult()
    suite.run(result)
    problems = [text for _, text in result.failures + result.errors]
    if support.environment_altered:
        problems.append("the test left processes or threads behind")
    skipped = [reason for _, reason in result.skipped]
    outcome = {"ran": result.testsRun, "problems": problems, "skipped": skipped}
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()
