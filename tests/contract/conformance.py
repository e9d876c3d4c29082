"""Run CPython's own process-pool tests, and fail on each difference that is not a promise of ours.

python -m tests.contract.conformance RUNNER [MORE ARGUMENTS OF THE RUNNER]

RUNNER is run_cpython.py of the conformance kit.  The intended differences stand in conformance_expected.json, the name of
the test and the reason; one that has gone is an error too, so that the list stays true.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

EXPECTED = Path(__file__).with_name("conformance_expected.json")


def run(runner: str, arguments: Iterable[str]) -> dict[str, Any]:
    """The record that the runner prints as its last line; what it prints before that goes through."""
    command = [sys.executable, runner, "--executor", "executor:ProcessPoolExecutor", *arguments]
    last = ""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    if process.returncode != 0:
        raise SystemExit(f"the runner itself failed with exit code {process.returncode}")
    record: dict[str, Any] = json.loads(last)
    return record


def method(name: str) -> str:
    """The name of the test method: it is the same for every start method."""
    return name.split(" ")[0].rpartition(".")[2]


def problems(record: dict[str, Any], expected: dict[str, str], whole: bool) -> Iterator[str]:
    failed = record["failures"]
    yield from (f"failed: {name}" for name in failed if method(name) not in expected)
    yield from (f"hangs: {name}" for name in failed if name.endswith("[hang]"))
    yield from (f"left a process behind: {name}" for name in record["leaked_processes_in"])
    yield from (f"changed the environment of the tests: {name}" for name in record["env_altered"])
    if record["passed"] == 0:
        yield "no test passed: nothing was looked at"
    if whole:
        gone = expected.keys() - {method(name) for name in failed}
        yield from (f"passes now, take it from {EXPECTED.name}: {name}" for name in sorted(gone))


def main() -> None:
    runner, *arguments = sys.argv[1:]
    expected: dict[str, str] = json.loads(EXPECTED.read_text())
    record = run(runner, arguments)
    for name in record["failures"]:
        if method(name) in expected:
            print(f"intended: {name}: {expected[method(name)]}")
    found = list(problems(record, expected, whole=not arguments))
    print("\n".join(found))
    print(f"{record['passed']} passed, {len(found)} failed")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
