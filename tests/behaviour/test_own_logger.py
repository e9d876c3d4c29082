"""What the logger `executor` tells of workers: starts, retirements, ends, and why."""

from __future__ import annotations

import logging
import operator
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executor import ProcessPoolExecutor
from tests import deaths
from tests.support import HANG, ROOT, eventually, kill


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What has been told so far, with W for any worker and N for any pid."""

    def texts() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name == "executor"]
        return [re.sub(r"pid \d+", "pid N", re.sub(r"ExecutorWorker-\d+", "W", text)) for text in found]

    with caplog.at_level(logging.DEBUG, "executor"):
        yield texts


Told = Callable[[], list[str]]


def test_start_retirement_and_end(start_method: str, told: Told) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        pool.submit(operator.neg, 1).result(HANG)
    assert told() == ["W (pid N) started", "W (pid N) retires: shutdown", "W (pid N) ended with exit code 0: shutdown"]


def test_the_pid_is_the_workers(start_method: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "executor"), ProcessPoolExecutor(1, start_method) as pool:
        pid = pool.submit(os.getpid).result(HANG)
    texts = [record.getMessage() for record in caplog.records if record.name == "executor"]
    assert [f"(pid {pid})" in text for text in texts] == [True] * 3


@pytest.mark.parametrize(
    ("act", "arguments", "how"),
    [
        (os._exit, (3,), "with exit code 3"),
        (deaths.die, ("SIGKILL",), "by SIGKILL"),
        (deaths.die, ("SIGSEGV",), "by SIGSEGV"),
    ],
)
def test_a_death_in_a_task(start_method: str, told: Told, act: Any, arguments: tuple[Any, ...], how: str) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        pool.submit(act, *arguments).exception(HANG)
        eventually(lambda: f"W (pid N) ended {how}: died" in told())
    assert told()[0] == "W (pid N) started"


def test_a_death_from_outside(told: Told) -> None:
    with ProcessPoolExecutor(1) as pool:
        kill(pool.submit(os.getpid).result(HANG), signal.SIGTERM)
        eventually(lambda: "W (pid N) ended by SIGTERM: died" in told())


def test_a_task_that_is_killed(told: Told, start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        pool.options(timeout=0.1).submit(deaths.hang).exception(HANG)
        eventually(lambda: "W (pid N) ended by SIGKILL: killed" in told())


@pytest.mark.parametrize(
    ("quota", "reason"),
    [
        ({"max_tasks_per_child": 1}, "max_tasks_per_child"),
        ({"max_age_per_child": 0.05}, "max_age_per_child"),
        ({"idle_timeout": 0.05}, "idle_timeout"),
    ],
)
def test_each_reason_to_retire(told: Told, quota: dict[str, Any], reason: str) -> None:
    with ProcessPoolExecutor(1, **quota) as pool:
        pool.submit(operator.neg, 1).result(HANG)
        eventually(lambda: f"W (pid N) ended with exit code 0: {reason}" in told())
        assert f"W (pid N) retires: {reason}" in told()


def test_memory(told: Told) -> None:
    with ProcessPoolExecutor(1, max_memory_per_child=1) as pool:
        pool.submit(deaths.hang).exception(HANG)
        eventually(lambda: "W (pid N) ended by SIGKILL: max_memory_per_child" in told())


def test_an_initializer_that_raises(start_method: str, told: Told) -> None:
    with ProcessPoolExecutor(1, start_method, initializer=deaths.divide, initargs=(1, 0)) as pool:
        pool.submit(operator.neg, 1).exception(HANG)
        eventually(lambda: "W (pid N) ended with exit code 0: initializer" in told())
    assert told()[:2] == ["W (pid N) started", "W (pid N) retires: initializer"]


def test_a_handler_that_raises_does_not_end_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    class Raising(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise ValueError(f"cannot handle: {record.getMessage()}")

    logger, handler = logging.getLogger("executor"), Raising()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with ProcessPoolExecutor(1) as pool:
            pool.submit(os._exit, 3).exception(HANG)
            assert pool.submit(operator.neg, 1).result(HANG) == -1
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert "ValueError: cannot handle: ExecutorWorker-1" in capsys.readouterr().err


PROGRAM = """
import logging, os
from executor import ProcessPoolExecutor, log_to_stderr
if __name__ == "__main__":
    logging.basicConfig()
    assert log_to_stderr() is logging.getLogger("executor")
    assert log_to_stderr("DEBUG").level == logging.DEBUG
    with ProcessPoolExecutor(1) as pool:
        pool.submit(abs, 1).result()
"""


def test_log_to_stderr_writes_each_record_once() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=HANG, check=True
    )
    lines = ran.stderr.splitlines()
    assert len(lines) == 3
    for line, what in zip(lines, ("started", "retires: shutdown", "ended with exit code 0: shutdown"), strict=True):
        assert re.fullmatch(rf"[\d\- :,]+ \[DEBUG/MainProcess\] executor: ExecutorWorker-1 \(pid \d+\) {what}", line)
