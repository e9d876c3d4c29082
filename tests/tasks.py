"""Functions that tests run in workers, shared by all of them.  Add yours at the end."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from tests.support import Gate


def add(a: int, b: int) -> int:
    return a + b


def multiply(a: int, b: int) -> int:
    return a * b


def square(x: int) -> int:
    return x * x


def divide(a: int, b: int) -> float:
    return a / b


def same(value: Any) -> Any:
    return value


def nothing() -> None:
    pass


def capture(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, as they arrived."""
    return args, kwargs


def pid(*_: Any) -> int:
    return os.getpid()


def pause(seconds: float) -> float:
    """A task that takes a while; for what is seen from outside, never to wait for something."""
    time.sleep(seconds)
    return seconds


def stop_at(gate: Gate, value: Any = None) -> Any:
    """Tell the test that the task runs, then wait until it opens the gate."""
    gate.stop()
    return value


def touch(path: str) -> str:
    Path(path).touch()
    return path


def append_line(path: str, line: str) -> None:
    """One line more; lines of several workers never mix."""
    with open(path, "a") as file:
        file.write(line + "\n")


def raise_error(error: BaseException) -> NoReturn:
    raise error


def raise_value_error(text: str) -> NoReturn:
    raise ValueError(text)


def raise_from(text: str) -> NoReturn:
    try:
        raise KeyError("inner")
    except KeyError as inner:
        raise RuntimeError(text) from inner


def error_on(bad: int, x: int) -> int:
    """x, unless it is the bad one."""
    if x == bad:
        raise ValueError(f"bad {x}")
    return x


def exit_with(code: int) -> NoReturn:
    os._exit(code)


def system_exit(code: int) -> NoReturn:
    sys.exit(code)


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)


def thread_count() -> int:
    return threading.active_count()


_greeting = "uninitialised"


def set_greeting(greeting: str) -> None:
    """An initializer."""
    global _greeting
    _greeting = greeting


def get_greeting(*_: Any) -> str:
    return _greeting


def note_start(path: str) -> None:
    """An initializer that leaves a line for each worker that runs it."""
    append_line(path, str(os.getpid()))


class CannotPickle:
    """Refuses to be pickled, with an error that a test can know again."""

    def __reduce__(self) -> NoReturn:
        raise ValueError("this refuses to be pickled")


def make_unpicklable() -> CannotPickle:
    return CannotPickle()


class KeywordOnlyError(Exception):
    """Pickles, and cannot be rebuilt: the argument is not in args."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


def raise_keyword_only(code: int) -> NoReturn:
    raise KeywordOnlyError(code=code)


class Multiplier:
    """A callable object, and methods."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, x: int) -> int:
        return self.factor * x

    def method(self, x: int) -> int:
        return self.factor * x

    @classmethod
    def make(cls, factor: int) -> Multiplier:
        return cls(factor)

    @staticmethod
    def static(x: int) -> int:
        return -x


def exit_on(bad: int, x: int) -> int:
    """x, unless it is the bad one: then the process ends."""
    if x == bad:
        os._exit(7)
    return x
