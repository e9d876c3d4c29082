"""What cannot be pickled or loaded fails its own future, with the original reason."""

from __future__ import annotations

import functools
import operator
import os
import pickle
import struct
import sys
import threading
import traceback
import types
from concurrent.futures.process import _RemoteTraceback
from typing import Any

import pytest

from executor import ProcessPoolExecutor, RemoteException, WorkerLost
from executor._segments import Segment
from tests import deaths
from tests.support import HANG, chain, told

# Whatever a __reduce__ or a __setstate__ may raise.
KINDS = [ValueError, RuntimeError, MemoryError, RecursionError, struct.error, StopIteration, SystemExit]
KINDS += [KeyboardInterrupt, GeneratorExit]


def assert_told(error: BaseException | None, kind: type[BaseException], text: str) -> None:
    """The reason is there, as itself or in words, whatever it is wrapped in."""
    assert error is not None
    assert not isinstance(error, WorkerLost)
    assert text in told(error)
    assert any(isinstance(e, kind) for e in chain(error)) or kind.__name__ in told(error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_argument_that_raises_when_pickled(kind: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        before = pool.submit(operator.neg, 1)
        bad = pool.submit(id, deaths.RaisesOnDump(kind, "no way out"))
        after = pool.submit(operator.neg, 2)
        assert_told(bad.exception(HANG), kind, "no way out")
        assert (before.result(HANG), after.result(HANG)) == (-1, -2)


@pytest.mark.parametrize("kind", KINDS)
def test_an_argument_that_raises_when_loaded(kind: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        bad = pool.submit(id, deaths.RaisesOnLoad(kind, "no way in"))
        assert_told(bad.exception(HANG), kind, "no way in")
        assert pool.submit(os.getpid).result(HANG) == pid


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_raises_when_pickled(kind: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        bad = pool.submit(deaths.make_raises_on_dump, kind, "no way back")
        assert_told(bad.exception(HANG), kind, "no way back")
        assert pool.submit(os.getpid).result(HANG) == pid


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_raises_when_loaded_here(kind: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        before = pool.submit(operator.neg, 1)
        bad = pool.submit(deaths.make_raises_on_load, kind, "not in my house")
        after = pool.submit(operator.neg, 2)
        assert_told(bad.exception(HANG), kind, "not in my house")
        assert (before.result(HANG), after.result(HANG)) == (-1, -2)


def test_every_place_under_every_start_method(start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        bad = [
            pool.submit(functools.partial(operator.is_, threading.Lock()), 1),
            pool.submit(id, threading.Lock()),
            pool.submit(id, key=threading.Lock()),
            pool.submit(deaths.make_lock),
            pool.submit(deaths.raise_with_lock),
            pool.submit(id, deaths.RaisesOnLoad(ValueError, "x")),
            pool.submit(deaths.make_raises_on_load, ValueError, "x"),
            pool.submit(deaths.raise_needs_keyword),
        ]
        good = [pool.submit(operator.neg, i) for i in range(8)]
        errors = [f.exception(HANG) for f in bad]
        assert all(errors)
        assert not any(isinstance(e, WorkerLost) for e in errors)
        assert [f.result(HANG) for f in good] == [-i for i in range(8)]


def test_a_lock_as_argument_says_what_cannot_be_pickled() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(id, threading.Lock()).exception(HANG)
        assert "cannot pickle '_thread.lock' object" in told(error)


def test_a_lock_as_result_says_what_cannot_be_pickled() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.make_lock).exception(HANG)
        assert "cannot pickle '_thread.lock' object" in told(error)


def test_more_unpicklable_tasks_than_workers_block_nobody() -> None:
    with ProcessPoolExecutor(2) as pool:
        bad = [pool.submit(id, threading.Lock()) for _ in range(50)]
        good = pool.submit(operator.neg, 1)
        assert good.result(HANG) == -1
        assert all(f.exception(HANG) for f in bad)


def test_a_function_that_the_worker_cannot_find(monkeypatch: pytest.MonkeyPatch) -> None:
    # A module that only this process has: the function pickles by its name, and no worker can import it.
    module = types.ModuleType("only_in_the_parent")
    exec("def here(): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_in_the_parent", module)
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(module.here).exception(HANG)
        assert error is not None
        assert "No module named 'only_in_the_parent'" in told(error)
        assert pool.submit(operator.neg, 1).result(HANG) == -1


# --- exceptions ---------------------------------------------------------------------------------------------


def test_an_exception_arrives_as_itself_with_the_remote_traceback_as_its_cause(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        error = pool.submit(deaths.divide, 1, 0).exception(HANG)
    assert type(error) is ZeroDivisionError
    assert error.args == ("division by zero",)
    assert isinstance(error.__cause__, _RemoteTraceback)
    assert "in divide" in str(error.__cause__)
    assert "ZeroDivisionError: division by zero" in str(error.__cause__)
    assert "in divide" in "".join(traceback.format_exception(error))


def test_the_remote_traceback_of_a_lambda_shows_its_line(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        error = pool.submit(lambda: int("not a number")).exception(HANG)
    assert f'File "{__file__}", line' in str(error.__cause__)
    assert """error = pool.submit(lambda: int("not a number"))""" in str(error.__cause__)


def test_the_remote_traceback_tells_of_the_causes_too() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.divide_in_other_words, 1, 0).exception(HANG)
    assert type(error) is ValueError
    assert "ZeroDivisionError: division by zero" in str(error.__cause__)
    assert "ValueError: no such share" in str(error.__cause__)


def test_an_exception_group_arrives_whole() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.raise_group).exception(HANG)
    assert isinstance(error, ExceptionGroup)
    assert [type(e) for e in error.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_base_exceptions_of_a_task_fail_its_future_alone(kind: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(HANG)
        error = pool.submit(deaths._raise, kind, 3).exception(HANG)
        assert type(error) is kind
        assert error.args == (3,)
        assert pool.submit(os.getpid).result(HANG) == pid


def test_an_exception_that_is_returned_is_a_result() -> None:
    with ProcessPoolExecutor(1) as pool:
        result = pool.submit(ValueError, "returned").result(HANG)
    assert type(result) is ValueError
    assert result.args == ("returned",)


def test_an_exception_that_pickle_cannot_rebuild_arrives_all_the_same() -> None:
    """Its constructor wants more than its ``args``, the classic way to break a pool."""
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.raise_needs_keyword).exception(HANG)
    assert isinstance(error, deaths.NeedsKeyword | RemoteException)
    assert "NeedsKeyword" in getattr(error, "type_name", type(error).__name__)
    assert "wants a keyword" in str(error)
    assert "in raise_needs_keyword" in told(error) + getattr(error, "traceback_text", "")


def test_an_exception_that_cannot_be_rebuilt_at_all_arrives_in_words() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.raise_unrebuildable).exception(HANG)
    assert isinstance(error, RemoteException)
    assert error.type_name.endswith("Unrebuildable")
    assert "once only" in error.text
    assert "in raise_unrebuildable" in error.traceback_text
    assert "once only" in str(error)


def test_an_exception_that_cannot_be_pickled_arrives_in_words() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.raise_with_lock).exception(HANG)
    assert isinstance(error, RemoteException)
    assert error.type_name.endswith("ValueError")
    assert "held" in error.text
    assert "in raise_with_lock" in error.traceback_text


def test_an_exception_whose_str_raises_arrives_too() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.raise_unspeakable).exception(HANG)
        assert error is not None
        assert "Unspeakable" in "".join(type(e).__name__ + getattr(e, "type_name", "") for e in chain(error))
        assert pool.submit(operator.neg, 1).result(HANG) == -1


def test_the_attributes_of_an_exception_arrive() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(deaths.raise_noted).exception(HANG)
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (2, "nowhere")
    assert error.__notes__ == ["look elsewhere"]


def test_a_task_of_many_objects_and_one_that_cannot_be_loaded_in_a_map() -> None:
    items = [1, 2, deaths.RaisesOnLoad(ValueError, "rotten"), 4]
    with ProcessPoolExecutor(1) as pool:
        results = pool.map(deaths.same, items)
        assert next(results) == 1
        assert next(results) == 2
        with pytest.raises(Exception, match="rotten"):
            next(results)
        assert pool.submit(operator.neg, 1).result(HANG) == -1


# --- functions that are remembered by their names -------------------------------------------------------------


def three() -> int:
    return 3


def four() -> int:
    return 4


def replace_in_worker() -> None:
    module: Any = sys.modules[__name__]
    module.three = four


def total_of(data: bytearray, *, times: int = 1) -> int:
    return sum(data) * times


def test_a_function_that_is_no_longer_what_its_name_says(start_method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = three
    with ProcessPoolExecutor(1, start_method) as pool:
        assert [pool.submit(three).result(HANG) for _ in range(3)] == [3, 3, 3]
        monkeypatch.setattr(sys.modules[__name__], "three", four)
        assert pool.submit(original).result(HANG) == 3  # the function, not what has its name
        assert pool.submit(three).result(HANG) == 4
        monkeypatch.undo()
        assert pool.submit(three).result(HANG) == 3


def test_a_task_may_replace_functions_in_its_worker(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        assert pool.submit(three).result(HANG) == 3
        pool.submit(replace_in_worker).result(HANG)
        assert pool.submit(three).result(HANG) == 4  # as in the standard pool


def test_large_arguments_of_such_a_function(start_method: str) -> None:
    data = bytearray(b"\1") * 500_000
    with ProcessPoolExecutor(1, start_method) as pool:
        assert pool.submit(total_of, data).result(HANG) == 500_000
        assert pool.submit(total_of, data, times=2).result(HANG) == 1_000_000
        assert pool.submit(total_of, pickle.PickleBuffer(data)).result(HANG) == 500_000  # type: ignore[arg-type]
        assert pool.submit(lambda d: sum(d), pickle.PickleBuffer(data)).result(HANG) == 500_000
        assert pool.submit(len, "x" * 500_000).result(HANG) == 500_000


def test_large_arguments_without_room_for_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.PickleBuffer(bytearray(b"\1") * 500_000)
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(three).result(HANG) == 3
        monkeypatch.setattr(Segment, "of", no_room)
        assert pool.submit(total_of, data).result(HANG) == 500_000  # type: ignore[arg-type]
        assert pool.options(name="named").submit(lambda d: sum(d), data).result(HANG) == 500_000


def no_room(parts: object) -> Segment:
    raise OSError(24, "too many open files")
