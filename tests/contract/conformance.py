"""Run CPython's own process-pool tests, and fail on each difference that is not a promise of ours.

python -m tests.contract.conformance RUNNER

RUNNER is run_cpython.py of the conformance kit.  The intended differences stand in conformance_expected.json:
the name of the test and the reason.  One that has gone is an error too, so that the list stays true.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import unittest
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXPECTED = Path(__file__).with_name("conformance_expected.json")
LIMIT = 60
# For tests that hang when they fail.  Nobody waits for them to pass, so nothing is gained by patience.
LIMIT_OF_HANGING = 10


@dataclass(frozen=True)
class Difference:
    """A test that fails on purpose: why, and why it also hangs then, if it does."""

    reason: str
    hang: str | None = None


def load_expected() -> dict[str, Difference]:
    return {name: Difference(**entry) for name, entry in json.loads(EXPECTED.read_text()).items()}


def all_methods(runner: str) -> set[str]:
    """The names of the test methods that the runner knows of."""
    spec = importlib.util.spec_from_file_location("run_cpython", runner)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def walk(suite: Iterable[Any]) -> Iterator[str]:
        for test in suite:
            if isinstance(test, unittest.TestSuite):
                yield from walk(test)
            else:
                yield test._testMethodName

    names = [f"test.test_concurrent_futures.{name}" for name in module.MODULES]
    return set(walk(unittest.defaultTestLoader.loadTestsFromNames(names)))


def run(runner: str, methods: Iterable[str], limit: int) -> dict[str, Any]:
    """The record that the runner prints as its last line; what it prints before that goes through."""
    command = [sys.executable, runner, "--executor", "executor:ProcessPoolExecutor", "--limit", str(limit)]
    command += [argument for name in sorted(methods) for argument in ("-k", f"*.{name}")]
    last = "{}"
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    if process.returncode != 0:
        sys.exit(f"the runner itself failed with exit code {process.returncode}")
    record: dict[str, Any] = json.loads(last)
    return record


def problems(record: dict[str, Any], expected: dict[str, Difference]) -> Iterator[str]:
    for name in record["failures"]:
        difference = expected.get(method_of(name))
        if difference is None:
            yield f"failed: {name}"
        elif name.endswith("[hang]") and difference.hang is None:
            yield f"hangs: {name}"
        else:
            print(f"intended: {name}: {difference.reason}")
    for name in {*record["leaked_processes_in"], *record["env_altered"]}:
        # One that hangs has not come to the point where its executor ends.
        if method_of(name) not in expected or expected[method_of(name)].hang is None:
            yield f"left processes or threads behind: {name}"


def method_of(name: str) -> str:
    return name.split(" ")[0].rpartition(".")[2]


def main() -> None:
    [runner] = sys.argv[1:]
    expected = load_expected()
    hanging = {name for name, difference in expected.items() if difference.hang}
    with ThreadPoolExecutor() as threads:  # those that hang only wait: the others run meanwhile
        runs = [threads.submit(run, runner, all_methods(runner) - hanging, LIMIT)]
        if hanging:
            runs.append(threads.submit(run, runner, hanging, LIMIT_OF_HANGING))
    records = [each.result() for each in runs]
    found = [problem for record in records for problem in problems(record, expected)]
    failed = {method_of(name) for record in records for name in record["failures"]}
    found += [f"passes now, take it from {EXPECTED.name}: {name}" for name in sorted(expected.keys() - failed)]
    passed = sum(record["passed"] for record in records)
    if not passed:
        found.append("no test passed: nothing was looked at")
    print(*found, sep="\n")
    print(f"{passed} passed, {len(found)} failed")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
