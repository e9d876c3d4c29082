"""submit: what goes in, what comes out, what may go wrong in between."""

from __future__ import annotations

import functools
import math
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests import tasks
from tests.contract.face import Face
from tests.support import Gate, told


def test_result(any_face: Face) -> None:
    assert any_face.pool().submit(tasks.add, 2, 3).result() == 5


def test_arguments_arrive_as_given(face: Face) -> None:
    args, kwargs = face.pool().submit(tasks.capture, 1, "two", [3], self=4, fn=5, timeout=6).result()
    assert args == (1, "two", [3])
    assert kwargs == {"self": 4, "fn": 5, "timeout": 6}


def test_a_function_is_needed(face: Face) -> None:
    pool = face.pool()
    with pytest.raises(TypeError):
        pool.submit()
    with pytest.raises(TypeError):
        pool.submit(fn=tasks.nothing)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (math.factorial, 120),
        (functools.partial(tasks.multiply, 2), 10),
        (tasks.Multiplier(3), 15),
        (tasks.Multiplier(4).method, 20),
        (tasks.Multiplier.static, -5),
    ],
    ids=["builtin", "partial", "callable object", "bound method", "static method"],
)
def test_kinds_of_callables(face: Face, function: Callable[[int], int], expected: int) -> None:
    assert face.pool().submit(function, 5).result() == expected


def test_class_method(face: Face) -> None:
    assert face.pool().submit(tasks.Multiplier.make, 6).result().factor == 6


def test_lambda(any_face: Face) -> None:
    future = any_face.pool().submit(lambda: 7)
    refusal = any_face.differs(standard=Exception, ours=None, because="cloudpickle takes what pickle cannot")
    if refusal is None:
        assert future.result() == 7
    else:
        with pytest.raises(refusal, match="lambda"):
            future.result()


def test_tasks_run_in_other_processes(any_face: Face) -> None:
    assert any_face.pool().submit(os.getpid).result() != os.getpid()


def test_arguments_are_copies(face: Face) -> None:
    given = [1]
    returned = face.pool().submit(tasks.same, given).result()
    assert returned == given
    assert returned is not given


@pytest.mark.parametrize("size", [0, 1, 65_536, 10_000_000])
def test_sizes(face: Face, size: int) -> None:
    data = bytes(size)
    assert face.pool().submit(tasks.same, data).result() == data


def test_many_large_ones_at_once(any_face: Face) -> None:
    pool = any_face.pool()
    futures = [pool.submit(tasks.same, bytes([i]) * 2_000_000) for i in range(10)]
    assert [(f.result()[0], len(f.result())) for f in futures] == [(i, 2_000_000) for i in range(10)]


def test_many_tasks_keep_their_results_apart(any_face: Face) -> None:
    pool = any_face.pool()
    futures = [pool.submit(tasks.square, i) for i in range(500)]
    assert [f.result() for f in futures] == [i * i for i in range(500)]


def test_submit_from_many_threads(any_face: Face) -> None:
    pool = any_face.pool()
    results: dict[int, list[int]] = {}

    def use(number: int) -> None:
        futures = [pool.submit(tasks.multiply, number, i) for i in range(25)]
        results[number] = [f.result() for f in futures]

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: [n * i for i in range(25)] for n in range(8)}


def test_submit_from_a_callback(face: Face) -> None:
    pool = face.pool()
    second: list[Any] = []
    ready = threading.Event()

    def follow(future: Any) -> None:
        second.append(pool.submit(tasks.square, future.result()))
        ready.set()

    pool.submit(tasks.square, 3).add_done_callback(follow)
    assert ready.wait(30)
    assert second[0].result() == 81


@pytest.mark.parametrize("value", [None, ValueError("a value"), KeyboardInterrupt, BaseException("another")])
def test_an_exception_that_is_returned_is_a_result(face: Face, value: Any) -> None:
    future = face.pool().submit(tasks.same, value)
    assert repr(future.result()) == repr(value)
    assert future.exception() is None


def test_exception(any_face: Face) -> None:
    future = any_face.pool().submit(tasks.raise_value_error, "wrong")
    with pytest.raises(ValueError, match=r"^wrong$") as caught:
        future.result()
    assert caught.value.args == ("wrong",)
    assert future.exception() is caught.value


def test_remote_traceback_is_the_cause(any_face: Face) -> None:
    cause = any_face.pool().submit(tasks.raise_value_error, "wrong").exception().__cause__
    assert "in raise_value_error" in str(cause)
    assert "raise ValueError(text)" in str(cause)


def test_remote_traceback_tells_of_the_cause_in_the_worker(face: Face) -> None:
    cause = face.pool().submit(tasks.raise_from, "outer").exception().__cause__
    assert "KeyError: 'inner'" in str(cause)
    assert "RuntimeError: outer" in str(cause)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_whatever_a_task_raises_fails_its_future(face: Face, kind: type[BaseException]) -> None:
    pool = face.pool()
    error = pool.submit(tasks.raise_error, kind("why")).exception()
    assert type(error) is kind
    assert error.args == ("why",)
    assert pool.submit(tasks.square, 3).result() == 9


def test_an_argument_that_cannot_be_pickled(any_face: Face) -> None:
    pool = any_face.pool()
    bad = pool.submit(tasks.same, tasks.CannotPickle())
    good = pool.submit(tasks.square, 3)
    with pytest.raises(ValueError, match="this refuses to be pickled"):
        bad.result()
    assert good.result() == 9


def test_a_result_that_cannot_be_pickled(any_face: Face) -> None:
    pool = any_face.pool()
    bad = pool.submit(tasks.make_unpicklable)
    good = pool.submit(tasks.square, 3)
    with pytest.raises(ValueError, match="this refuses to be pickled"):
        bad.result()
    assert good.result() == 9


def test_a_lock_cannot_be_pickled(face: Face) -> None:
    with pytest.raises((TypeError, pickle.PicklingError), match="pickle"):
        face.pool().submit(tasks.same, threading.Lock()).result()


def test_an_exception_that_cannot_be_rebuilt(any_face: Face) -> None:
    pool = any_face.pool()
    error = pool.submit(tasks.raise_keyword_only, 7).exception()
    broken = any_face.differs(standard=True, ours=False, because="what cannot be loaded fails its own future")
    if not broken:  # what the standard pool does depends on which of its threads comes first
        assert not isinstance(error, any_face.BrokenExecutor)
        assert "KeywordOnlyError" in told(error)
        assert "code 7" in told(error)
        assert pool.submit(tasks.square, 3).result() == 9


def test_a_killed_worker(any_face: Face, gate: Gate) -> None:
    pool = any_face.pool(2)
    neighbour = pool.submit(tasks.stop_at, gate, "kept")
    gate.wait_arrivals()
    lost = pool.submit(tasks.kill_itself, 9)
    behind = pool.submit(tasks.square, 3)
    assert isinstance(lost.exception(), any_face.BrokenExecutor)
    gate.open()
    all_lost = any_face.differs(standard=True, ours=False, because="a lost worker costs its own task only")
    if all_lost:
        assert isinstance(neighbour.exception(), any_face.BrokenExecutor)
        assert isinstance(behind.exception(), any_face.BrokenExecutor)
        with pytest.raises(any_face.BrokenExecutor):
            pool.submit(tasks.nothing)
    else:
        assert neighbour.result() == "kept"
        assert behind.result() == 9
        assert pool.submit(tasks.square, 4).result() == 16
