"""What the main program defines works in tasks, however the program is run and whatever the start method is.

Each program is run as a script, from standard input, with -c, at the interactive prompt, and as a notebook runs its
cells. So there is no blank line inside a block, and one after each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from executor import _main_globals
from executor._errors import UNGUARDED_MAIN
from executor._pickling import decode, encode
from tests.support import HANG, ROOT, START_METHODS

HEAD = """\
import os
from executor import ProcessPoolExecutor
METHOD = os.environ["METHOD"]
"""

PROGRAM = """\
connection = None
cache = {}
calls = 0
class Point:
    def __init__(self, x):
        self.x = x
    def double(self):
        return Point(2 * self.x)

class PointError(Exception):
    pass

def set_up(value):
    global connection, extra
    connection = value
    extra = [value]
    cache["key"] = value

def use(x):
    return connection, extra, cache, x

def nested():
    return use(3)

def double(point):
    return point.double(), isinstance(point, Point)

def count():
    global calls
    calls += 1
    return calls

def fail(text):
    raise PointError(text)

def make_adder(n):
    class Local:
        def __init__(self, x):
            self.x = x + n
    def add(x):
        return Local(x)
    return add, Local

def run():
    with ProcessPoolExecutor(1, mp_context=METHOD, initializer=set_up, initargs=(5,)) as pool:
        def get(fn, *args):
            return pool.submit(fn, *args).result()
        expected = 5, [5], {"key": 5}
        assert get(use, 1) == (*expected, 1), get(use, 1)
        assert get(nested) == (*expected, 3), get(nested)
        assert list(pool.map(use, range(2))) == [(*expected, 0), (*expected, 1)]
        assert get(lambda: connection) == 5
        assert get(lambda: (nested(), cache)) == ((*expected, 3), {"key": 5})
        assert [get(count), get(count)] == [1, 2]
        point, same = get(double, Point(2))
        assert type(point) is Point and same and point.x == 4
        assert type(get(lambda: Point(1))) is Point
        error = pool.submit(fail, "why").exception()
        assert type(error) is PointError and error.args == ("why",)
        add, Local = make_adder(10)
        assert type(get(add, 1)) is Local and get(add, 1).x == 11
        assert type(get(lambda local: local, Local(3))) is Local
        assert get(get(lambda n: lambda x: x * n, 3), 2) == 6
    return "all is well"

if __name__ == "__main__":
    print(run())

"""

# The same functions are sent again and again: what the program changes meanwhile is to arrive, what it does not change
# is the worker's.
CHANGES = """\
number = 1
table = {"a": 1}
class Thing:
    version = 1

thing = Thing()
def look():
    return number, table, type(thing).version, getattr(thing, "mark", None)

def change():
    global number
    number = 100
    table["b"] = 100
    thing.mark = "set in the worker"

def which():
    return "first"

pool = ProcessPoolExecutor(1, mp_context=METHOD)
def get(fn):
    return pool.submit(fn).result()

assert get(look) == (1, {"a": 1}, 1, None), get(look)
get(change)
assert get(look) == (100, {"a": 1, "b": 100}, 1, "set in the worker"), get(look)
number = 2
assert get(look) == (2, {"a": 1, "b": 100}, 1, "set in the worker"), get(look)
table["c"] = 3
assert get(look) == (2, {"a": 1, "c": 3}, 1, "set in the worker"), get(look)
class Thing:
    version = 2

assert get(look)[2:] == (1, "set in the worker"), get(look)
thing = Thing()
assert get(look)[2:] == (2, None), get(look)
assert get(which) == "first"
def which():
    return "second"

assert get(which) == "second"
assert get(lambda: which()) == "second"
pool.shutdown()
print("all is well")
"""

# The initializer is no function of the top level, so it is sent whole even where workers import the script.
LOCAL = """\
connection = None
def use():
    return connection

def run():
    def set_up():
        global connection
        connection = 5
    with ProcessPoolExecutor(1, mp_context=METHOD, initializer=set_up) as pool:
        return pool.submit(use).result(), pool.submit(lambda: use() + connection).result()

if __name__ == "__main__":
    print(run())

"""

SITUATIONS = ("script", "stdin", "-c", "prompt", "cells")


def run(program: str, situation: str, method: str, folder: Path) -> str:
    """What the program says."""
    program = HEAD + program
    text, arguments = "", ["-c", program]
    if situation == "script":
        (folder / "program.py").write_text(program)
        arguments = ["program.py"]
    elif situation == "stdin":
        text, arguments = program, ["-"]
    elif situation == "prompt":
        text, arguments = program, ["-i", "-q"]
    elif situation == "cells":
        cells = "\n".join(f"exec(compile({cell!r}, '<cell>', 'exec'), space)" for cell in program.split("\n\n"))
        arguments = ["-c", f"space = {{'__name__': '__main__'}}\n{cells}"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "METHOD": method, "PYTHONPATH": path},
        input=text,
        capture_output=True,
        text=True,
        timeout=2 * HANG,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    errors = ended.stderr if situation != "prompt" else ended.stderr.replace(">>> ", "").replace("... ", "").strip()
    assert errors == "", errors
    return ended.stdout.strip()


@pytest.mark.parametrize("situation", SITUATIONS)
def test_globals_classes_closures(situation: str, start_method: str, tmp_path: Path) -> None:
    assert run(PROGRAM, situation, start_method, tmp_path) == "all is well"


@pytest.mark.parametrize(
    ("situation", "method"),
    [(situation, method) for situation in SITUATIONS[1:] for method in START_METHODS] + [("script", "loky")],
)
def test_what_the_program_changes(situation: str, method: str, tmp_path: Path) -> None:
    assert run(CHANGES, situation, method, tmp_path) == "all is well"


@pytest.mark.parametrize("situation", ["script", "-c"])
def test_an_initializer_that_is_a_local_function(situation: str, start_method: str, tmp_path: Path) -> None:
    assert run(LOCAL, situation, start_method, tmp_path) == "(5, 10)"


UNGUARDED = """\
def work(n):
    return n + 1

with ProcessPoolExecutor(1, mp_context=METHOD) as pool:
    future = pool.submit(work, 1)
    print(repr(future.exception()) if future.exception() else future.result())
"""


@pytest.mark.parametrize("method", ["fork", "loky"])
def test_a_script_without_a_guard(method: str, tmp_path: Path) -> None:
    assert run(UNGUARDED, "script", method, tmp_path) == "2"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_script_without_a_guard_that_workers_import_gets_one_sentence(method: str, tmp_path: Path) -> None:
    program = UNGUARDED.replace("repr(future.exception())", "future.exception()")
    assert run(program, "script", method, tmp_path) == UNGUARDED_MAIN


SEEN = """\
import sys
def annotated(x: int):
    pass

SEEN = sorted((name, value) for name, value in globals().items() if name.startswith("__") and name != "__builtins__")
PROGRAM = sys.argv[0]
def seen():
    return SEEN, PROGRAM, annotated.__annotations__, annotated.__module__, sys.modules["__main__"].__name__

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=METHOD) as pool:
        print(pool.submit(seen).result())
"""


def test_the_fork_server_imports_the_main_module_as_multiprocessing_does(tmp_path: Path) -> None:
    by_multiprocessing, by_the_server = (run(SEEN, "script", method, tmp_path) for method in ("spawn", "forkserver"))
    assert by_the_server == by_multiprocessing
    assert "<class 'int'>" in by_the_server


# --- in this process: what is sent, and what a worker makes of it -----------------------------------------------


def sent(space: dict[str, Any], source: str) -> Any:
    """A function that is defined in a namespace of the program, as a worker has it."""
    exec(source, space)
    fn, _, _ = decode(encode((space["fn"], (), {}), main_by_value=True))  # type: ignore[arg-type]
    return fn


@pytest.fixture
def no_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_main_globals, "_sent", {})
    monkeypatch.setattr(_main_globals, "_spaces", {})


@pytest.mark.usefixtures("no_spaces")
def test_each_namespace_has_a_space_of_its_own() -> None:
    spaces = [{"__name__": "__main__", "n": n} for n in range(3)]
    functions = [sent(space, "def fn(): return n") for space in spaces]
    assert [fn() for fn in functions] == [0, 1, 2]
    for fn in functions:
        fn.__globals__["n"] += 10
    assert [sent(space, "def fn(): return n")() for space in spaces] == [10, 11, 12]


@pytest.mark.usefixtures("no_spaces")
def test_no_more_namespaces_are_kept_than_are_of_use() -> None:
    spaces = [{"__name__": "__main__", "n": n} for n in range(100)]
    assert [sent(space, "def fn(): return n")() for space in spaces] == list(range(100))
    assert len(_main_globals._sent) == len(_main_globals._spaces) < 100


@pytest.mark.usefixtures("no_spaces")
def test_what_cannot_be_compared_is_set_each_time() -> None:
    space = {"__name__": "__main__", "table": {1: 2}.keys()}  # cloudpickle can, plain pickle cannot
    fn = sent(space, "def fn(): return table")
    fn.__globals__["table"] = "the worker's"
    assert list(sent(space, "def fn(): return table")()) == [1]


@pytest.mark.usefixtures("no_spaces")
def test_functions_of_modules_are_sent_by_name() -> None:
    fn, _, _ = decode(encode((run, (), {}), main_by_value=True))  # type: ignore[arg-type]
    assert fn is run
