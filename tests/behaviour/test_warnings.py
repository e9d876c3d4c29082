"""Warnings raised in workers: told in the parent, by its filters."""

from __future__ import annotations

import importlib
import logging
import operator
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor
from tests.support import HANG, ROOT, SCRIPTS, START_METHODS


class OwnWarning(UserWarning):
    """One with an argument of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self) -> tuple[type[OwnWarning], tuple[int]]:
        return OwnWarning, (self.code,)


def warn(text: str = "look out", category: type[Warning] = FutureWarning) -> int:
    warnings.warn(text, category, stacklevel=1)
    return 1


def warn_own() -> None:
    warnings.warn(OwnWarning(5), stacklevel=1)


def warn_local() -> None:
    class Local(RuntimeWarning):
        pass

    warnings.warn("of a class that has no name elsewhere", Local, stacklevel=1)


def warn_caught() -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn()
    return [str(one.message) for one in caught]


def warn_as_error() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            warn()
        except FutureWarning:
            return "raised"
    return "not raised"


def capture() -> None:
    logging.captureWarnings(True)


def of_tasks(caught: list[warnings.WarningMessage]) -> list[warnings.WarningMessage]:
    """Without what Python says of fork in a process with threads."""
    return [one for one in caught if "use of fork" not in str(one.message)]


def test_category_file_and_line_arrive(start_method: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ProcessPoolExecutor(1, start_method) as pool:
            assert pool.submit(warn).result(HANG) == 1
    (one,) = of_tasks(caught)
    assert (one.category, str(one.message)) == (FutureWarning, "look out")
    assert Path(one.filename) == Path(__file__)
    assert Path(__file__).read_text().splitlines()[one.lineno - 1].strip().startswith("warnings.warn(text")


def test_the_same_from_many_workers_is_told_once(start_method: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with ProcessPoolExecutor(3, start_method) as pool:
            list(pool.map(warn, [f"once, under {start_method}"] * 30, chunksize=1))
            pool.submit(warn, f"another, under {start_method}").result(HANG)
    assert [str(one.message) for one in of_tasks(caught)] == [
        f"once, under {start_method}",
        f"another, under {start_method}",
    ]


def test_all_of_them_where_the_filter_says_so() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(warn, ["each"] * 20))
    assert len(caught) == 20


def test_filters_that_change_later_count() -> None:
    with ProcessPoolExecutor(1) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pool.submit(warn).result(HANG) == 1
        with pytest.warns(FutureWarning, match="look out"):
            pool.submit(warn).result(HANG)
        with pytest.warns(FutureWarning, match="look out"):
            pool.submit(warn).result(HANG)


def test_by_module_and_text() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", "heard", module=re.escape(__name__))
        with ProcessPoolExecutor(1) as pool:
            pool.submit(warn, "heard").result(HANG)
            pool.submit(warn, "not heard").result(HANG)
    assert [str(one.message) for one in caught] == ["heard"]


LIBRARY = """
import warnings
class Special(UserWarning): pass
class Deprecated(Special): pass
def warn(): warnings.warn("look out", Deprecated)
"""


def warn_of(module: str) -> bool:
    """Whether the module was there before."""
    was_there = module in sys.modules
    importlib.import_module(module).warn()
    return was_there


@pytest.mark.parametrize("method", [method for method in START_METHODS if method != "fork"])
def test_a_filter_imports_nothing_and_holds_when_its_category_is_there(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"library_{method}"
    (tmp_path / f"{name}.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    library = importlib.import_module(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", library.Special)
        with ProcessPoolExecutor(1, method, initializer=sys.path.insert, initargs=(0, str(tmp_path))) as pool:
            assert pool.submit(warn).result(HANG) == 1
            assert not pool.submit(warn_of, name).result(HANG)
            assert pool.submit(warn_of, name).result(HANG)
    assert [str(one.message) for one in of_tasks(caught)] == ["look out"]
    assert caught[0].category is FutureWarning


def test_a_filter_that_makes_errors_breaks_nothing(start_method: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        with ProcessPoolExecutor(2, start_method) as pool:
            text = f"no error, under {start_method}"
            assert [pool.submit(warn, text).result(HANG) for _ in range(5)] == [1] * 5
            assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert [str(one.message) for one in caught] == [text]


def test_with_arguments_of_its_own_and_of_a_class_without_a_name() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ProcessPoolExecutor(1) as pool:
            pool.submit(warn_own).result(HANG)
            pool.submit(warn_local).result(HANG)
    own, local = caught
    assert isinstance(own.message, OwnWarning)
    assert own.message.code == 5
    assert (local.category, str(local.message)) == (RuntimeWarning, "of a class that has no name elsewhere")


def test_what_a_task_does_with_them_itself(start_method: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ProcessPoolExecutor(1, start_method) as pool:
            assert pool.submit(warn_caught).result(HANG) == ["look out"]
            assert pool.submit(warn_as_error).result(HANG) == "raised"
    assert of_tasks(caught) == []


def test_a_filter_of_the_workers_own_stays() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ProcessPoolExecutor(1, initializer=warnings.simplefilter, initargs=("ignore",)) as pool:
            pool.submit(warn).result(HANG)
            warnings.simplefilter("default")
            pool.submit(warn).result(HANG)
    assert caught == []


def test_captured_by_logging_in_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    with ProcessPoolExecutor(1, initializer=capture) as pool:
        pool.submit(warn).result(HANG)
    (record,) = caplog.records
    assert record.name == "py.warnings"
    assert "FutureWarning: look out" in record.getMessage()


def test_off() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ProcessPoolExecutor(1, forward_logging=False) as pool:
            pool.submit(warn).result(HANG)
    assert caught == []


def test_on_the_command_line_too(start_method: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPTS / "logs.py"), start_method],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert ran.returncode == 0
    assert ran.stderr.count("FutureWarning: look out") == 1
