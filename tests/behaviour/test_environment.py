"""The environment of workers, and how many threads numeric libraries use in them."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from executor import ProcessPoolExecutor, WorkerManager, get_reusable_executor
from tests.support import HANG, ROOT

NAME = "EXECUTOR_TEST_VARIABLE"
AT_IMPORT = os.environ.get(NAME)  # in a worker: when this module was imported there
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

in_initializer: str | None = None


def note() -> None:
    global in_initializer
    in_initializer = os.environ.get(NAME)


def look() -> tuple[str | None, str | None, str | None]:
    return os.environ.get(NAME), in_initializer, AT_IMPORT


def look_in_a_program() -> str:
    return subprocess.run(["printenv", NAME], capture_output=True, text=True, check=True).stdout.strip()


def threads() -> list[str | None]:
    return [os.environ.get(name) for name in THREADS]


def blas_threads() -> list[int]:
    import numpy as np
    import threadpoolctl

    assert np.ones(2) @ np.ones(2) == 2
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def no_threads_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)


# --- env ----------------------------------------------------------------------------------------------------


def test_it_is_set_before_anything_is_imported(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method, initializer=note, env={NAME: "set"}) as pool:
        at_import = AT_IMPORT if start_method == "fork" else "set"
        assert pool.submit(look).result(HANG) == ("set", "set", at_import)
        assert pool.submit(look_in_a_program).result(HANG) == "set"
    assert NAME not in os.environ


def test_each_executor_has_its_own(start_method: str) -> None:
    with (
        ProcessPoolExecutor(1, start_method, env={NAME: "1"}) as first,
        ProcessPoolExecutor(1, start_method, env={NAME: "2"}) as second,
        ProcessPoolExecutor(1, start_method) as third,
    ):
        found = [pool.submit(look) for pool in (first, second, third)]
        assert [future.result(HANG)[0] for future in found] == ["1", "2", None]


def test_a_replacement_has_it_too(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method, env={NAME: "set"}, max_tasks_per_child=1) as pool:
        assert [pool.submit(look).result(HANG)[0] for _ in range(3)] == ["set"] * 3


def name_of_process() -> tuple[type, str]:
    name = multiprocessing.current_process().name
    return type(name), name


def test_the_name_of_the_process_is_as_any(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method, env={NAME: "set"}) as pool:
        assert pool.submit(name_of_process).result(HANG) == (str, "ExecutorWorker-1")


def test_every_face_has_it() -> None:
    with WorkerManager(1, env={NAME: "manager"}) as manager, ProcessPoolExecutor(manager=manager) as pool:
        assert pool.submit(look).result(HANG)[0] == "manager"
        with pytest.raises(ValueError, match="env is the manager's"):
            ProcessPoolExecutor(manager=manager, env={NAME: "mine"})
    pool = get_reusable_executor(1, env={NAME: "reusable"})
    assert pool.submit(look).result(HANG)[0] == "reusable"
    pool.shutdown()


@pytest.mark.parametrize("env", [{NAME: 1}, {1: "x"}, {NAME: None}])
def test_what_is_no_text(env: Any) -> None:
    with pytest.raises(TypeError, match="env must map str to str"):
        ProcessPoolExecutor(1, env=env)


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {NAME: "a\0b"}])
def test_what_no_variable_can_be(env: Any) -> None:
    with pytest.raises(ValueError, match="that no variable can have"):
        ProcessPoolExecutor(1, env=env)


PROGRAM = f"""
import os, sys
from executor import ProcessPoolExecutor

at_import = os.environ.get({NAME!r})

def look():
    return at_import

if __name__ == "__main__":
    with ProcessPoolExecutor(2, sys.argv[1]) as other:
        with ProcessPoolExecutor(2, sys.argv[1], env={{{NAME!r}: "set"}}) as pool:
            print(other.submit(look).result(), pool.submit(look).result())
"""


@pytest.mark.parametrize(
    ("method", "seen"), [("fork", "None"), ("forkserver", "set"), ("spawn", "set"), ("loky", "None")]
)
def test_the_main_module_sees_it_where_a_worker_imports_it(method: str, seen: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    ran = subprocess.run(
        [sys.executable, str(tmp_path / "main.py"), method],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == (f"None {seen}\n", "")


# --- worker_threads -----------------------------------------------------------------------------------------


def test_a_number_of_threads(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method, worker_threads=3) as pool:
        assert pool.submit(threads).result(HANG) == ["3"] * 6
    assert threads() == [None] * 6


def test_auto_shares_the_processors() -> None:
    processors = ProcessPoolExecutor()._max_workers
    with ProcessPoolExecutor(1, worker_threads="auto") as pool:
        assert pool.submit(threads).result(HANG) == [str(processors)] * 6
    with ProcessPoolExecutor(processors + 1, worker_threads="auto") as pool:
        assert pool.submit(threads).result(HANG) == ["1"] * 6


def test_what_the_user_has_set_stays(start_method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with ProcessPoolExecutor(1, start_method, worker_threads=1, env={"MKL_NUM_THREADS": "5"}) as pool:
        assert pool.submit(threads).result(HANG) == ["7", "1", "5", "1", "1", "1"]


def test_off_by_default(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        assert pool.submit(threads).result(HANG) == [None] * 6


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "many"])
def test_what_is_no_number_of_threads(wrong: Any) -> None:
    with pytest.raises(ValueError, match="worker_threads must be"):
        ProcessPoolExecutor(1, worker_threads=wrong)


def test_numpy_keeps_to_it(start_method: str) -> None:
    pytest.importorskip("numpy")
    pytest.importorskip("threadpoolctl")
    assert blas_threads()  # loaded here: a forked worker has it too, and has to be told
    with ProcessPoolExecutor(1, start_method, worker_threads=1) as pool:
        assert set(pool.submit(blas_threads).result(HANG)) == {1}
    with ProcessPoolExecutor(1, start_method, worker_threads=2) as pool:
        assert set(pool.submit(blas_threads).result(HANG)) == {2}
