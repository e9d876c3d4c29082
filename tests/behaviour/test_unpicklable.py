"""What cannot be pickled is named: which argument, of which function, and where in it."""

from __future__ import annotations

import collections
import functools
import threading
from typing import Any

import pytest

from executor import InitializerError, ProcessPoolExecutor
from executor._unpicklable import note_argument
from tests.support import HANG

LOCK = "cannot pickle '_thread.lock' object"


class Handler:
    def __init__(self) -> None:
        self.name = "handler"
        self.lock = threading.Lock()


class Slotted:
    __slots__ = ("first", "held", "never_set")

    def __init__(self) -> None:
        self.first = 1
        self.held = [threading.Lock()]


class OwnState:
    """Its state is made for pickling, of what is an attribute and of what is none."""

    def __init__(self, *, attribute: bool) -> None:
        self.connection = threading.Lock() if attribute else None

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self.connection or threading.Lock()}


class OwnDict:
    """Looking at it runs code of its own, which is not to run."""

    looked_at: list[str] = []  # noqa: RUF012 - shared on purpose

    def __init__(self) -> None:
        object.__setattr__(self, "lock", threading.Lock())

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            OwnDict.looked_at.append(name)
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __repr__(self) -> str:
        raise AssertionError("shown")

    __hash__ = None  # type: ignore[assignment]


class Counts:
    """Can be pickled so many times."""

    def __init__(self, left: int, then: type[BaseException]) -> None:
        self.left, self.then = left, then

    def __reduce__(self) -> Any:
        self.left -= 1
        if self.left < 0:
            raise self.then("no more")
        raise ValueError("not this time")


def load(path: str, config: object = None, *rest: object, key: object = None) -> None:
    """Does nothing with what it cannot be given anyway."""


def initialize(config: object) -> None:
    """The same."""


def handlers() -> dict[str, list[Handler]]:
    return {"handlers": [Handler()]}


def generate(number: int) -> object:
    return (n for n in range(number))


def notes(error: BaseException | None) -> list[str]:
    assert error is not None
    return list(getattr(error, "__notes__", []))


def note_of(fn: Any, *args: Any, **kwargs: Any) -> str:
    """What is noted when a call is not to be pickled; no worker is needed for it."""
    error = TypeError(LOCK)
    note_argument(error, (fn, args, kwargs))
    (note,) = notes(error)
    return note


def test_an_argument_a_keyword_and_a_result(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        position = pool.submit(load, "a", {"handlers": [Handler()]}).exception(HANG)
        keyword = pool.submit(load, "a", key=Slotted()).exception(HANG)
        result = pool.submit(handlers).exception(HANG)
    assert type(position) is type(keyword) is type(result) is TypeError
    assert str(position) == str(keyword) == str(result) == LOCK
    name = f"{__name__}.load()"
    assert notes(position) == [f"argument 2 ('config') of {name}: config['handlers'][0].lock: {LOCK}"]
    assert notes(keyword) == [f"argument 'key' of {name}: key.held[0]: {LOCK}"]
    assert notes(result) == [f"the result of {__name__}.handlers(): result['handlers'][0].lock: {LOCK}"]


def test_items_of_a_map(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        items = pool.map(load, ["a", "b", "c"], [1, 2, threading.Lock()], return_exceptions=True)
        results = pool.map(generate, [1, 2], return_exceptions=True)
        *good, bad = items
        assert good == [None, None]
        assert notes(bad) == [f"item 2 of the map: argument 2 ('config') of {__name__}.load(): {LOCK}"]
        for error in results:
            assert notes(error) == [
                f"the result of {__name__}.generate(): cannot pickle 'generator' object"  # type: ignore[arg-type]
            ]


@pytest.mark.parametrize("method", ["forkserver", "spawn", "loky"])
def test_an_argument_of_the_initializer(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=method, initializer=initialize, initargs=({"a": Handler()},)) as pool:
        error = pool.submit(abs, -1).exception(HANG)
    assert isinstance(error, InitializerError)
    assert notes(error.__cause__) == [f"argument 1 ('config') of {__name__}.initialize(): config['a'].lock: {LOCK}"]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), ""),
        ([1, (2, threading.Lock())], "config[1][1]: "),
        (collections.deque([threading.Lock()]), "config[0]: "),
        (collections.defaultdict(list, a=[threading.Lock()]), "config['a'][0]: "),
        ({Handler: {1: {(1, "b"): threading.Lock()}}}, "config[a type][1][(1, 'b')]: "),
        ({threading.Lock(): 1}, "config[key a lock]: "),
        ({threading.Lock()}, "config[an element]: "),
        (functools.partial(load, [threading.Lock()]), "config.args[0][0]: "),
        (functools.partial(load, key=threading.Lock()), "config.keywords['key']: "),
        (Handler().__init__, "config.__self__.lock: "),  # type: ignore[misc]
        (ValueError("text", threading.Lock()), "config.args[1]: "),
        (OwnState(attribute=True), "config.connection: "),
        (OwnState(attribute=False), "config.__reduce_ex__()['kept']: "),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_path(value: object, path: str) -> None:
    assert note_of(load, "a", value) == f"argument 2 ('config') of {__name__}.load(): {path}{LOCK}"


def test_names_of_parameters() -> None:
    assert note_of(load, 1, 2, 3, [Handler()]).startswith(f"argument 4 of {__name__}.load(): args[3][0].lock: ")
    assert note_of(id, threading.Lock()) == f"argument 1 of id(): {LOCK}"
    assert note_of(Counts, 1, [Handler()]).startswith(f"argument 2 ('then') of {__name__}.Counts(): then[0].lock: ")
    held = Slotted()
    assert "argument 1 of" in note_of(Handler().__init__, held) or "__self__.lock" in note_of(Handler().__init__, held)


def test_what_a_closure_holds() -> None:
    lock = threading.Lock()

    def local() -> object:
        return lock

    name = f"{__name__}.test_what_a_closure_holds.<locals>.local"
    assert note_of(local) == f"the function {name}(): local (its variable 'lock'): {LOCK}"


def test_the_object_at_fault_where_plain_pickle_stops_earlier() -> None:
    # Plain pickle stops at the lambda, which is none of the matter.
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(load, "a", [lambda: 1, threading.Lock()]).exception(HANG)
    assert notes(error) == [f"argument 2 ('config') of {__name__}.load(): config[1]: {LOCK}"]


def test_no_code_of_the_object_runs_but_its_pickling() -> None:
    value = OwnDict()
    OwnDict.looked_at.clear()
    assert note_of(load, "a", [value]).endswith(f"config[0].lock: {LOCK}")
    assert OwnDict.looked_at == []


def test_an_object_that_can_be_pickled_the_second_time_is_not_blamed() -> None:
    error = TypeError("once")
    note_argument(error, (load, ("a", [1, 2]), {}))
    assert notes(error) == []


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, MemoryError, KeyError])
def test_whatever_is_raised_the_second_time(kind: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(load, Counts(2, kind)).exception(HANG)
        assert pool.submit(abs, -1).result(HANG) == 1
    assert type(error) is ValueError
    assert notes(error)[0].startswith(f"argument 1 ('path') of {__name__}.load(): {kind.__name__}: ")


def test_the_search_gives_up_on_what_is_large() -> None:
    error = TypeError(LOCK)
    note_argument(error, (load, ("a", [[] for _ in range(60_000)] + [threading.Lock()]), {}))
    assert notes(error) == []
    deep: Any = threading.Lock()
    for _ in range(200):
        deep = [deep]
    note_argument(error, (load, ("a", deep), {}))
    assert notes(error) == []


def test_large_data_beside_it_does_not_count() -> None:
    assert note_of(load, "a", [*range(200_000), threading.Lock()]).endswith(f"config[200000]: {LOCK}")


def test_an_error_that_is_raised_twice_is_noted_once() -> None:
    error = TypeError(LOCK)
    for _ in range(2):
        note_argument(error, (load, ("a", threading.Lock()), {}))
    assert len(notes(error)) == 1


def test_an_error_that_takes_no_notes() -> None:
    error = TypeError(LOCK)
    error.__notes__ = "not a list"  # type: ignore[assignment]
    note_argument(error, (load, ("a", threading.Lock()), {}))
    assert error.__notes__ == "not a list"  # type: ignore[comparison-overlap]
