"""What the constructor takes and refuses, and what libraries look at afterwards."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import inspect
import os
import pickle
from typing import Any

import pytest

import executor
from tests import leaks, tasks
from tests.contract.face import Face

# Not ours to export: the thread and interpreter pools, and the abstract Executor (ours is the process pool).
NOT_EXPORTED = {"Executor", "ThreadPoolExecutor", "InterpreterPoolExecutor"}
# Ours are made for our futures, and take the standard ones too.
OWN = {"Future", "ProcessPoolExecutor", "as_completed", "wait"}


def test_every_name_of_the_standard_module_is_there() -> None:
    for name in set(concurrent.futures.__all__) - NOT_EXPORTED:
        assert hasattr(executor, name), name
        if name not in OWN:
            assert getattr(executor, name) is getattr(concurrent.futures, name), name
    assert executor.BrokenProcessPool is concurrent.futures.process.BrokenProcessPool


@pytest.mark.parametrize("name", ["Future", "ProcessPoolExecutor"])
def test_our_class_is_a_subclass_of_the_standard_one(name: str) -> None:
    assert issubclass(getattr(executor, name), getattr(concurrent.futures, name))


@pytest.mark.parametrize("name", ["__init__", "submit", "map", "shutdown"])
def test_standard_parameters_have_their_place_and_default(name: str) -> None:
    standard = inspect.signature(getattr(concurrent.futures.ProcessPoolExecutor, name)).parameters
    ours = inspect.signature(getattr(executor.ProcessPoolExecutor, name)).parameters
    positional = [p.name for p in standard.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(positional)] == positional or name in ("submit", "map")
    for parameter in standard.values():
        assert ours[parameter.name].kind is parameter.kind, parameter.name
        assert ours[parameter.name].default == parameter.default, parameter.name


def test_a_pool_is_an_executor(face: Face) -> None:
    pool = face.pool()
    assert isinstance(pool, concurrent.futures.Executor)
    assert isinstance(pool, concurrent.futures.ProcessPoolExecutor)


@pytest.mark.parametrize("count", [0, -1])
def test_max_workers_must_be_positive(face: Face, count: int) -> None:
    with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
        face.pool(count)


def test_initializer_must_be_callable(face: Face) -> None:
    with pytest.raises(TypeError, match=r"^initializer must be a callable$"):
        face.pool(initializer=1)


@pytest.mark.parametrize("value", ["2", 2.0])
def test_max_tasks_per_child_must_be_an_integer(face: Face, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^max_tasks_per_child must be an integer$"):
        face.pool(max_tasks_per_child=value)


@pytest.mark.parametrize("value", [0, -1])
def test_max_tasks_per_child_must_be_positive(face: Face, value: int) -> None:
    with pytest.raises(ValueError, match=r"^max_tasks_per_child must be >= 1$"):
        face.pool(max_tasks_per_child=value)


def test_an_unknown_argument_is_an_error(face: Face) -> None:
    with pytest.raises(TypeError, match="no_such_argument"):
        face.pool(no_such_argument=1)


def test_libraries_read_max_workers(face: Face) -> None:
    assert face.pool(3)._max_workers == 3
    assert 1 <= face.pool(None)._max_workers <= (os.cpu_count() or 1)


def test_nothing_starts_with_the_constructor(any_face: Face) -> None:
    before = leaks.Snapshot.take()
    pool = any_face.pool()
    assert not leaks.Snapshot.take().since(before).processes
    pool.shutdown()


def test_one_task_starts_one_worker(any_face: Face) -> None:
    before = leaks.Snapshot.take()
    pool = any_face.pool(2)
    pool.submit(tasks.nothing).result()
    at_once = 2 if any_face.start_method == "fork" else 1
    expected = any_face.differs(standard=at_once, ours=1, because="we can fork later, so we start on demand")
    assert len(leaks.Snapshot.take().since(before).processes) == expected


def test_never_more_workers_than_max_workers(any_face: Face) -> None:
    pool = any_face.pool(2)
    pids = set(pool.map(tasks.pid, range(40)))
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids


def test_a_pool_cannot_be_pickled(face: Face) -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(face.pool())


def test_max_tasks_per_child_replaces_the_worker(any_face: Face) -> None:
    refusal = ValueError if any_face.start_method == "fork" else None
    refusal = any_face.differs(standard=refusal, ours=None, because="our forked workers can be replaced too")
    if refusal:
        with pytest.raises(refusal, match="fork"):
            any_face.pool(1, max_tasks_per_child=2)
        return
    pool = any_face.pool(1, max_tasks_per_child=2)
    pids = [pool.submit(tasks.pid).result() for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_map_of_a_subclass_uses_its_submit(face: Face) -> None:
    class Counting(face.ProcessPoolExecutor):  # type: ignore[name-defined,misc]
        submitted = 0

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.submitted += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(1, mp_context=face.context()) as pool:
        assert list(pool.map(tasks.square, range(4))) == [0, 1, 4, 9]
        assert pool.submitted == 4
