"""Context variables of the caller in tasks."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from executor import ProcessPoolExecutor, current_task
from tests.support import HANG, ROOT

request: ContextVar[str] = ContextVar("request", default="none")
user: ContextVar[Any] = ContextVar("user")
classes = type("classes", (), {"hidden": ContextVar("hidden")})


def look(*_: object) -> tuple[str, Any]:
    return request.get(), user.get("nobody")


def look_and_change(value: str) -> str:
    before = request.get()
    request.set(value)
    return before


def set_in_worker(value: str) -> None:
    request.set(value)


def name_of_task() -> str | None:
    task = current_task()
    return task.name if task is not None else None


class Unloadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


def started(pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
    """With its worker started where no variable is set: one that is forked begins with what is set there."""
    assert contextvars.Context().run(pool.submit, abs, -1).result(HANG) == 1
    return pool


@pytest.fixture(autouse=True)
def set_here() -> Any:
    """Each test begins with these values, and leaves none behind."""
    tokens = request.set("abc"), user.set({"id": 1})
    yield
    request.reset(tokens[0])
    user.reset(tokens[1])


def test_those_that_are_listed(start_method: str) -> None:
    with started(ProcessPoolExecutor(1, start_method, context=[request])) as pool:
        assert pool.submit(look).result(HANG) == ("abc", "nobody")
        request.set("def")
        assert pool.submit(look).result(HANG) == ("def", "nobody")
        assert pool.options(context=[user]).submit(look).result(HANG) == ("none", {"id": 1})
        assert pool.options(context=None).submit(look).result(HANG) == ("none", "nobody")


def test_all_that_can_travel(start_method: str) -> None:
    classes.hidden.set("no module has it")  # type: ignore[attr-defined]
    with started(ProcessPoolExecutor(1, start_method, context="all")) as pool:
        assert pool.submit(look).result(HANG) == ("abc", {"id": 1})
        for value in (threading.Lock(), Unloadable()):
            user.set(value)
            assert pool.submit(look).result(HANG) == ("abc", "nobody")


def test_off_by_default() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(look).result(HANG) == ("none", "nobody")


def test_nothing_leaks_into_the_next_task(start_method: str) -> None:
    with started(ProcessPoolExecutor(1, start_method, initializer=set_in_worker, initargs=("at first",))) as pool:
        with_context = pool.options(context="all")
        assert with_context.submit(look_and_change, "changed").result(HANG) == "abc"
        assert pool.submit(look).result(HANG) == ("at first", "nobody")
        assert list(with_context.map(look_and_change, ["x", "y", "z"])) == ["abc"] * 3
        assert contextvars.Context().run(with_context.submit, look).result(HANG) == ("at first", "nobody")
        assert pool.submit(look).result(HANG) == ("at first", "nobody")


def test_every_way_to_submit() -> None:
    with ProcessPoolExecutor(2, context=[request]) as pool:
        expected = ("abc", "nobody")
        results = [pool.map(look, range(200)), pool.map_unordered(look, range(200), buffersize=3)]
        results.append(pool.map(look, range(100), range(100), chunksize=7))
        first = pool.submit(look)
        second = first.then(look)
        request.set("of a later time")
        assert [list(result) for result in results] == [[expected] * 200, [expected] * 200, [expected] * 100]
        assert second.result(HANG) == expected
        assert pool.submit(look, first).result(HANG) == ("of a later time", "nobody")


def test_in_asyncio() -> None:
    async def use(pool: ProcessPoolExecutor) -> list[Any]:
        request.set("of the coroutine")
        loop = asyncio.get_running_loop()
        found = [await loop.run_in_executor(pool, look)]
        results = pool.amap(look, range(5), buffersize=1)
        request.set("of a later time")
        return found + [result async for result in results]

    with ProcessPoolExecutor(1, context=[request]) as pool:
        assert asyncio.run(use(pool)) == [("of the coroutine", "nobody")] * 6


def test_the_task_keeps_its_name() -> None:
    with ProcessPoolExecutor(1, context="all") as pool:
        assert pool.submit(name_of_task).result(HANG) == "tests.behaviour.test_contexts.name_of_task"


def test_a_lambda_and_a_variable_as_an_argument(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method, context=[request]) as pool:
        assert pool.submit(lambda: request.get()).result(HANG) == "abc"
        assert pool.submit(lambda variable: variable.get(), request).result(HANG) == "abc"
        assert pool.submit(lambda variable: variable, user).result(HANG) is user


def test_one_that_workers_cannot_find() -> None:
    local: ContextVar[int] = ContextVar("local")
    message = "the context variable 'local' cannot be found by workers: it is not an attribute of a module"
    with pytest.raises(ValueError, match=message):
        ProcessPoolExecutor(1, context=[local])
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match=message):
            pool.options(context=[request, local])
        assert message in str(pool.submit(look, local).exception(HANG))


@pytest.mark.parametrize("wrong", ["some", request, [request, "user"], 5])
def test_what_is_no_context(wrong: Any) -> None:
    with pytest.raises(TypeError):
        ProcessPoolExecutor(1, context=wrong)


PROGRAM = """
import sys
from contextvars import ContextVar
from executor import ProcessPoolExecutor

class Value:
    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return type(other) is type(self) and other.text == self.text

typed_in = ContextVar("typed_in", default=Value("default"))

def look():
    return typed_in.get().text

if __name__ == "__main__":
    with ProcessPoolExecutor(1, sys.argv[1], context="all") as pool:
        print(pool.submit(look).result())
        typed_in.set(Value("set"))
        print(pool.submit(look).result(), list(pool.map(lambda _: look(), range(2))))
        print(pool.options(context=[typed_in]).submit(look).result())
        print(pool.options(context=None).submit(look).result())
"""


@pytest.mark.parametrize("how", ["-c", "file"])
def test_a_variable_of_the_main_module(start_method: str, how: str, tmp_path: Any) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    what = ["-c", PROGRAM] if how == "-c" else [str(tmp_path / "main.py")]
    ran = subprocess.run(
        [sys.executable, *what, start_method],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["default", "set ['set', 'set']", "set", "default"]
