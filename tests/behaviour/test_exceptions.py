"""An exception arrives with its past: where it was raised, its causes and contexts, its notes, its members."""

from __future__ import annotations

import os
import pickle
import traceback
from concurrent.futures.process import _RemoteTraceback
from multiprocessing.pool import RemoteTraceback
from pathlib import Path
from typing import Any

import pytest

from executor import InitializerError, Pool, ProcessPoolExecutor, RemoteException
from executor._exceptions import dump_exception, load_exception
from tests import deaths
from tests.support import HANG


def raised(fn: Any, *args: Any, method: str = "forkserver", **options: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=method) as pool:
        error = pool.options(**options).submit(fn, *args).exception(HANG)
    assert isinstance(error, BaseException)
    assert isinstance(error.__cause__, _RemoteTraceback)
    return error


def there_and_back(error: BaseException) -> Any:
    return load_exception(dump_exception(error))


def test_the_frames_of_the_worker_are_in_the_traceback_with_their_source(start_method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        try:
            pool.submit(deaths.divide, 1, 0).result(HANG)
        except ZeroDivisionError as error:
            text = "".join(traceback.format_exception(error))
            remote = str(error.__cause__)
            pid = pool.submit(os.getpid).result(HANG)
    assert f'File "{deaths.__file__}", line ' in text
    assert "in divide\n    return a / b" in text
    assert "_worker_main.py" not in remote
    assert f"raised by tests.deaths.divide in ExecutorWorker-1 (pid {pid})\n" in text
    assert f'File "{__file__}", line ' in text


def test_the_note_names_worker_and_task_and_the_exception_has_none() -> None:
    error = raised(deaths.divide, 1, 0, name="the share")
    assert error.__cause__.__notes__[0].startswith("raised by the share in ExecutorWorker-1 (pid ")
    assert not hasattr(error, "__notes__")


def test_the_note_counts_attempts(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, task_retries=1) as pool:
        error = pool.submit(deaths.die_once_then_divide, str(tmp_path / "flag")).exception(HANG)
    assert error is not None
    assert error.__cause__.__notes__[0].endswith(", attempt 2")  # type: ignore[union-attr]


def test_an_initializer_is_named_by_its_worker() -> None:
    with ProcessPoolExecutor(1, initializer=deaths.divide_by_zero) as pool:
        error = pool.submit(abs, -1).exception(HANG)
    assert isinstance(error, InitializerError)
    assert error.__cause__.__cause__.__notes__[0].startswith("raised in ExecutorWorker-1")  # type: ignore[union-attr]


def test_raise_from(start_method: str) -> None:
    error = raised(deaths.raise_from_three, method=start_method)
    assert (type(error), error.args) == (RuntimeError, ("third",))
    second = error.__cause__.__cause__
    assert (type(second), second.args) == (ValueError, ("second",))
    assert error.__context__ is second
    first = second.__cause__
    assert (type(first), first.args, first.__notes__) == (KeyError, ("first",), ["a note of the first"])
    assert second.__context__ is first
    assert first.__cause__ is first.__context__ is None
    for words in ("KeyError: 'first'\na note of the first", "ValueError: second", "RuntimeError: third"):
        assert words in str(error.__cause__)


def test_a_context() -> None:
    error = raised(deaths.raise_in_a_handler)
    remote = error.__cause__
    assert remote.__cause__ is None
    assert type(remote.__context__) is ZeroDivisionError
    assert remote.__suppress_context__ is False
    assert error.__context__ is remote.__context__
    assert "During handling of the above exception" in str(remote)


def test_a_context_that_is_not_to_be_shown() -> None:
    error = raised(deaths.raise_without_context)
    remote = error.__cause__
    assert remote.__cause__ is None
    assert type(remote.__context__) is ZeroDivisionError
    assert remote.__suppress_context__ is True
    assert "ZeroDivisionError" not in "".join(traceback.format_exception(error))


def test_no_past() -> None:
    error = raised(deaths.divide, 1, 0)
    remote = error.__cause__
    assert error.__context__ is remote.__cause__ is remote.__context__ is None
    assert remote.__suppress_context__ is False


def test_a_cause_that_cannot_be_pickled_comes_in_words() -> None:
    error = raised(deaths.raise_from_three, True)
    second = error.__cause__.__cause__
    assert isinstance(second, RemoteException)
    assert (second.type_name, type(second.__cause__)) == ("ValueError", KeyError)


def test_a_circle_of_causes() -> None:
    error = raised(deaths.raise_in_a_circle)
    second = error.__cause__.__cause__
    assert second.args == ("second",)
    assert second.__cause__ is error


@pytest.mark.parametrize("own", [False, True], ids=["standard", "own"])
def test_a_group_in_a_group(own: bool, start_method: str) -> None:
    error = raised(deaths.raise_nested_group, own, method=start_method)
    assert type(error) is (deaths.OwnGroup if own else ExceptionGroup)
    assert error.__notes__ == ["a note of the group"]
    assert error.__cause__.__cause__.args == ("why",)
    alone, inner = error.exceptions
    assert (type(alone), type(inner), inner.message) == (TypeError, ExceptionGroup, "inner")
    assert [type(member) for member in inner.exceptions] == [KeyError, IndexError]
    for member in inner.exceptions:
        assert type(member.__cause__) is FileNotFoundError
        assert member.__notes__ == ["a note of a member"]
    assert error.split(KeyError)[0].exceptions[0].exceptions == (inner.exceptions[0],)


def test_a_member_that_cannot_be_pickled_comes_in_words_and_the_others_as_themselves() -> None:
    error = raised(deaths.raise_nested_group, False, True)
    inner = error.exceptions[1]
    assert [type(member) for member in inner.exceptions] == [KeyError, IndexError, RemoteException]
    assert "held" in inner.exceptions[2].text


def test_notes_survive_where_a_class_pickles_itself_without_them() -> None:
    error = deaths.Unrebuildable("once only")
    error.add_note("kept")
    assert isinstance(arrived := there_and_back(error), RemoteException)
    assert arrived.__notes__ == ["kept"]


def test_a_long_chain_comes_as_far_as_it_may() -> None:
    error = ValueError(0)
    for number in range(1, 1500):
        link = ValueError(number)
        link.__context__ = error
        error = link
    error = there_and_back(error)
    length = 0
    while error.__context__ is not None:
        error = error.__context__
        length += 1
    assert length >= 999  # a library (tblib, which Dask brings) may have it all come with the pickle


def test_a_group_of_very_many() -> None:
    error = there_and_back(ExceptionGroup("many", [ValueError(n) for n in range(3000)]))
    assert [member.args[0] for member in error.exceptions] == list(range(3000))


def test_through_two_pools() -> None:
    error = raised(deaths.divide_in_a_pool)
    assert type(error) is ZeroDivisionError
    inner = error.__cause__.__cause__
    assert isinstance(inner, _RemoteTraceback)
    assert "in divide\n" in str(inner)
    assert "in divide\n" in str(error.__cause__)


def test_the_face_of_multiprocessing_keeps_the_chain() -> None:
    with Pool(1) as pool, pytest.raises(RuntimeError) as caught:
        pool.apply(deaths.raise_from_three)
    remote = caught.value.__cause__
    assert isinstance(remote, RemoteTraceback)
    assert isinstance(remote.__cause__, ValueError)
    assert remote.__notes__[0].startswith("raised by tests.deaths.raise_from_three in ")


def test_what_travels_can_be_read_without_the_classes() -> None:
    nodes, text, where = pickle.loads(dump_exception(deaths.NeedsKeyword("wants a keyword", code=3)))
    assert nodes[0][1][:2] == ("tests.deaths.NeedsKeyword", "wants a keyword")
    assert "NeedsKeyword: wants a keyword" in text
    assert where == ""
