"""Log records made in workers: they reach the parent's handlers, once, by the parent's levels."""

from __future__ import annotations

import logging
import operator
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import (
    Pool,
    ProcessPoolExecutor,
    SoftTimeout,
    WorkerLost,
    WorkerManager,
    current_worker,
    get_reusable_executor,
)
from tests.support import HANG, eventually, program

NAME = "tests.logging"


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """The handler of a logger at INFO."""
    logger, handler = logging.getLogger(NAME), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


# --- in workers ---------------------------------------------------------------------------------------------


def say(text: str = "said %s", *args: Any, level: int = logging.INFO, name: str = NAME) -> tuple[int, Any]:
    logging.getLogger(name).log(level, text, *args)
    return os.getpid(), current_worker()


def say_in_a_thread() -> None:
    thread = threading.Thread(target=say, args=("in a thread",), name="of the task")
    thread.start()
    thread.join()


def is_enabled(level: int, name: str = NAME) -> bool:
    return logging.getLogger(name).isEnabledFor(level)


def fail_and_say() -> None:
    try:
        operator.truediv(1, 0)
    except ZeroDivisionError:
        logging.getLogger(NAME).exception("it failed")


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("not this one")

    def __str__(self) -> str:
        return "as text"


class Unloadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)

    def __str__(self) -> str:
        return "as text too"


def say_odd_things() -> None:
    logger = logging.getLogger(NAME)
    logger.info("one: %s", Unpicklable())
    logger.info("two: %s", Unloadable(), extra={"lock": threading.Lock(), "tag": ("a", 1)})
    logger.info("three: %d", Unpicklable())
    logger.info({"a": 1})
    logger.info("five: %(x)s", {"x": [1, 2]})


def say_and_die(count: int) -> None:
    for number in range(count):
        logging.getLogger(NAME).info("last words %d", number)
    os.kill(os.getpid(), signal.SIGKILL)


def say_three_and_perhaps_die(number: int) -> None:
    for text in ("one", "two", "three"):
        logging.getLogger(NAME).info("%d %s", number, text)
    if number % 20 == 7:
        os.kill(os.getpid(), signal.SIGKILL)


def say_without_descriptors() -> str:
    os.closerange(3, 1 << 16)
    for _ in range(5000):
        logging.getLogger(NAME).info("to nobody, perhaps: %s", "x" * 100)
    return "done"


def say_for_ever() -> None:
    # Made once: making a record swallows exceptions, whatever raises them.
    record = logging.getLogger(NAME).makeRecord(NAME, logging.INFO, __file__, 1, "still here", (), None)
    try:
        while True:
            logging.getLogger(NAME).handle(record)
    except SoftTimeout:
        logging.getLogger(NAME).info("the end")
        raise


def say_in_a_forked_child() -> int:
    pid = os.fork()
    if pid == 0:
        logging.getLogger(NAME).info("from a child")
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def log_to_file(path: str) -> None:
    logging.basicConfig(filename=path, level=logging.INFO, format="%(message)s")


def say_and_pause(number: int) -> int:
    """A long one among short ones."""
    logging.getLogger(NAME).info("item %d", number)
    if number % 10 == 9:
        threading.Event().wait(0.02)
        logging.getLogger(NAME).info("paused %d", number)
    return number


def nest(method: str) -> None:
    with ProcessPoolExecutor(1, method) as pool:
        pool.submit(say, "from within").result(HANG)


# --- what arrives -------------------------------------------------------------------------------------------


def test_a_record_arrives_with_where_it_comes_from(start_method: str, kept: Kept) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        pid, worker = pool.options(name="a task").submit(say, "said %s", 1).result(HANG)
        (record,) = kept.records
    assert (record.getMessage(), record.args, record.name, record.levelname) == ("said 1", (1,), NAME, "INFO")
    assert (record.process, record.processName) == (pid, worker.name)
    assert (record.worker, record.slot, record.task) == (worker.name, worker.slot, "a task")  # type: ignore[attr-defined]
    assert (record.funcName, Path(record.pathname)) == ("say", Path(__file__))


def test_it_is_handled_before_the_result_is_there(kept: Kept) -> None:
    with ProcessPoolExecutor(2) as pool:
        for number in range(100):
            pool.submit(say, "one %d", number).result(HANG)
            assert len(kept.records) == number + 1
        futures = [pool.submit(say, "many %d", number) for number in range(500)]
        assert all(future.result(HANG) for future in futures)
        assert sorted(kept.texts()[100:]) == sorted(f"many {number}" for number in range(500))


def test_of_initializer_finalizer_and_threads(start_method: str, kept: Kept) -> None:
    with ProcessPoolExecutor(1, start_method, initializer=say, initargs=("at first",), finalizer=fail_and_say) as pool:
        pool.submit(say_in_a_thread).result(HANG)
    assert kept.texts() == ["at first", "in a thread", "it failed"]
    assert [record.threadName for record in kept.records] == ["MainThread", "of the task", "MainThread"]
    assert [bool(record.task) for record in kept.records] == [False, True, False]  # type: ignore[attr-defined]


def test_what_cannot_travel_arrives_as_text(kept: Kept) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(fail_and_say).result(HANG)
        pool.submit(say_odd_things).result(HANG)
    failed, one, two, three, four, five = kept.records
    assert failed.exc_info is None
    assert "ZeroDivisionError: division by zero" in (failed.exc_text or "")
    assert "in fail_and_say" in logging.Formatter().format(failed)
    assert (one.getMessage(), two.getMessage()) == ("one: as text", "two: as text too")
    assert "lock object" in two.lock  # type: ignore[attr-defined]
    assert two.tag == ("a", 1)  # type: ignore[attr-defined]
    assert three.getMessage().startswith("three: %d")
    assert four.msg == {"a": 1}
    assert (five.getMessage(), five.args) == ("five: [1, 2]", {"x": [1, 2]})


def test_a_large_one_and_many(start_method: str, kept: Kept) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        pool.submit(say, "%s", "x" * 1_000_000).result(HANG)
        assert list(pool.map(say_and_pause, range(100))) == list(range(100))
    assert len(kept.texts()[0]) == 1_000_000
    assert sorted(kept.texts()[1:]) == sorted(
        [f"item {number}" for number in range(100)] + [f"paused {number}" for number in range(9, 100, 10)]
    )


def test_of_a_worker_of_a_worker(kept: Kept) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(nest, "fork").result(HANG)
    (record,) = kept.records
    assert record.getMessage() == "from within"
    assert record.task == "tests.behaviour.test_logging.say"  # type: ignore[attr-defined]


# --- levels and filters -------------------------------------------------------------------------------------


def test_levels_hold_where_the_record_is_made(start_method: str, kept: Kept) -> None:
    logger = logging.getLogger(NAME)
    with ProcessPoolExecutor(1, start_method) as pool:
        assert pool.submit(is_enabled, logging.INFO).result(HANG)
        assert not pool.submit(is_enabled, logging.DEBUG).result(HANG)
        assert not pool.submit(is_enabled, logging.INFO, NAME.split(".")[0]).result(HANG)
        logger.setLevel(logging.DEBUG)
        assert pool.submit(is_enabled, logging.DEBUG).result(HANG)
        logger.setLevel(logging.NOTSET)
        assert not pool.submit(is_enabled, logging.INFO).result(HANG)
        logging.disable(logging.CRITICAL)
        try:
            assert not pool.submit(is_enabled, logging.ERROR).result(HANG)
        finally:
            logging.disable(logging.NOTSET)
        assert pool.submit(is_enabled, logging.ERROR).result(HANG)


def test_a_level_that_a_task_has_set_stays(kept: Kept) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(set_level, logging.ERROR).result(HANG)
        logging.getLogger(NAME).setLevel(logging.DEBUG)
        assert not pool.submit(is_enabled, logging.WARNING).result(HANG)


def set_level(level: int) -> None:
    logging.getLogger(NAME).setLevel(level)


def test_filters_of_the_parent_see_where_it_comes_from(kept: Kept) -> None:
    kept.addFilter(lambda record: record.task != "quiet")
    with ProcessPoolExecutor(1) as pool:
        pool.options(name="quiet").submit(say).result(HANG)
        pool.options(name="loud").submit(say, "said").result(HANG)
    assert kept.texts() == ["said"]


# --- handlers -----------------------------------------------------------------------------------------------


def test_a_handler_of_the_parent_gets_it_once(start_method: str, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log")
    logging.getLogger(NAME).addHandler(handler)
    try:
        with ProcessPoolExecutor(2, start_method) as pool:
            for number in range(20):
                pool.submit(say, "line %d", number, level=logging.ERROR).result(HANG)
    finally:
        logging.getLogger(NAME).removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text().splitlines() == [f"line {number}" for number in range(20)]


def test_a_handler_that_a_worker_adds_is_as_in_any_process(start_method: str, tmp_path: Path, kept: Kept) -> None:
    path = str(tmp_path / "worker.log")
    with ProcessPoolExecutor(1, start_method, initializer=log_to_file, initargs=(path,)) as pool:
        pool.submit(say, "mine").result(HANG)
    assert Path(path).read_text() == "mine\n"
    assert kept.texts() == []


def test_always_means_both(start_method: str, tmp_path: Path, kept: Kept) -> None:
    path = str(tmp_path / "worker.log")
    with ProcessPoolExecutor(
        1, start_method, initializer=log_to_file, initargs=(path,), forward_logging="always"
    ) as pool:
        pool.submit(say, "ours").result(HANG)
    assert Path(path).read_text() == "ours\n"
    assert kept.texts() == ["ours"]


def test_a_handler_of_a_library_that_does_nothing_takes_nothing(kept: Kept) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(add_null_handler).result(HANG)
        pool.submit(say, "all the same").result(HANG)
    assert kept.texts() == ["all the same"]


def add_null_handler() -> None:
    logging.getLogger(NAME).addHandler(logging.NullHandler())


class Raising(logging.Handler):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def handle(self, record: logging.LogRecord) -> bool:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_a_handler_that_raises_harms_nothing(
    error: BaseException, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = Raising(error)
    logging.getLogger(NAME).addHandler(handler)
    try:
        with ProcessPoolExecutor(1) as pool:
            for _ in range(3):
                assert pool.submit(say, "all the same").result(HANG)
    finally:
        logging.getLogger(NAME).removeHandler(handler)
    assert kept.texts() == ["all the same"] * 3
    assert capsys.readouterr().err.count(f"{type(error).__name__}: {error}") == 3


def test_a_handler_may_use_the_pool(kept: Kept) -> None:
    results: list[int] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("ask"):
                results.append(pool.submit(operator.neg, 1).result(HANG))

    handler = Asking()
    logging.getLogger(NAME).addHandler(handler)
    try:
        with ProcessPoolExecutor(2) as pool:
            futures = [pool.submit(say, "ask %d", number) for number in range(50)]
            assert all(future.result(HANG) for future in futures)
            # While a handler waits, outcomes do not wait for it.
            eventually(lambda: len(results) == 50)
    finally:
        logging.getLogger(NAME).removeHandler(handler)
    assert results == [-1] * 50
    assert len(kept.records) == 50


def test_a_handler_may_want_a_lock_that_whoever_submits_holds(kept: Kept) -> None:
    lock = threading.Lock()

    class Locking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert lock.acquire(timeout=HANG)
            lock.release()

    handler = Locking()
    logging.getLogger(NAME).addHandler(handler)
    try:
        with ProcessPoolExecutor(2) as pool:
            with lock:
                futures = [pool.submit(say, "%d", number) for number in range(2000)]
            assert all(future.result(HANG) for future in futures)
            assert len(kept.records) == 2000
    finally:
        logging.getLogger(NAME).removeHandler(handler)


def test_off(start_method: str, kept: Kept, tmp_path: Path) -> None:
    logging.getLogger(NAME).removeHandler(kept)  # a forked worker has a copy, and uses it
    try:
        with ProcessPoolExecutor(1, start_method, forward_logging=False) as pool:
            pool.submit(say, level=logging.DEBUG).result(HANG)
            pool.submit(set_level, logging.CRITICAL + 1).result(HANG)
            logging.getLogger(NAME).addHandler(kept)
            pool.submit(say, level=logging.CRITICAL).result(HANG)
    finally:
        logging.getLogger(NAME).removeHandler(kept)
    assert kept.records == []


def test_every_face_has_it(kept: Kept) -> None:
    with Pool(1) as pool:
        pool.apply(say, ("pool",))
    with WorkerManager(1) as manager, ProcessPoolExecutor(manager=manager) as executor:
        executor.submit(say, "manager").result(HANG)
    get_reusable_executor(1).submit(say, "reusable").result(HANG)
    get_reusable_executor(1, forward_logging=False).submit(set_level, logging.CRITICAL).result(HANG)
    get_reusable_executor(1, forward_logging=False).submit(say, "off").result(HANG)
    get_reusable_executor(1, forward_logging=False).shutdown()
    with Pool(1, forward_logging=False) as pool:
        pool.apply(set_level, (logging.CRITICAL,))
        pool.apply(say, ("off",))
    with WorkerManager(1, forward_logging=False) as manager, ProcessPoolExecutor(manager=manager) as executor:
        executor.submit(set_level, logging.CRITICAL).result(HANG)
        executor.submit(say, "off").result(HANG)
        with pytest.raises(ValueError, match="forward_logging is the manager's"):
            ProcessPoolExecutor(manager=manager, forward_logging=False)
    assert kept.texts() == ["pool", "manager", "reusable"]
    with pytest.raises(ValueError, match="forward_logging must be"):
        ProcessPoolExecutor(1, forward_logging="sometimes")  # type: ignore[arg-type]


# --- workers that end, and other trouble --------------------------------------------------------------------


def test_what_a_worker_said_before_it_died_is_not_lost(start_method: str, kept: Kept) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        assert isinstance(pool.submit(say_and_die, 100).exception(HANG), WorkerLost)
        assert kept.texts() == [f"last words {number}" for number in range(100)]


def test_each_record_comes_once_whatever_happens_to_the_workers(start_method: str, kept: Kept) -> None:
    with ProcessPoolExecutor(3, start_method) as pool:
        quiet = pool.map(say_and_pause, range(300), return_exceptions=True)
        deadly = [pool.submit(say_three_and_perhaps_die, number) for number in range(200)]
        lost = [isinstance(future.exception(HANG), WorkerLost) for future in deadly]
        assert list(quiet) == list(range(300))
    assert lost == [number % 20 == 7 for number in range(200)]
    expected = [f"item {number}" for number in range(300)] + [f"paused {number}" for number in range(9, 300, 10)]
    expected += [f"{number} {text}" for number in range(200) for text in ("one", "two", "three")]
    assert sorted(kept.texts()) == sorted(expected)


def test_a_task_that_has_closed_every_descriptor_may_log(start_method: str, kept: Kept) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        assert pool.submit(say_without_descriptors).result(HANG) == "done"
        pool.submit(say, "the next").result(HANG)
    assert kept.texts()[-1] == "the next"
    assert kept.texts()[0].startswith("to nobody")


def test_a_soft_time_limit_may_come_while_a_record_is_sent(kept: Kept) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(say, "all imported").result(HANG)
        for _ in range(5):
            assert isinstance(pool.options(soft_timeout=0.05).submit(say_for_ever).exception(HANG), SoftTimeout)
            assert pool.submit(operator.neg, 1).result(HANG) == -1
    assert kept.texts().count("the end") == 5


def test_a_forked_child_of_a_task_does_not_disturb(kept: Kept) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(say_in_a_forked_child).result(HANG) == 0
        pool.submit(say, "goes on").result(HANG)
    assert kept.texts() == ["goes on"]


def test_without_any_set_up_it_is_as_in_one_process(start_method: str, tmp_path: Path) -> None:
    with program("logs.py", start_method, directory=tmp_path) as run:
        assert run.wait() == 0
        lines = run.err.splitlines()
    assert lines[0] == "seen once 1"
    assert [line for line in lines if "FutureWarning: look out" in line] == lines[1:2]
    assert lines[2:] == ['  warnings.warn("look out", FutureWarning, stacklevel=1)']


def test_logging_is_imported_in_a_worker_when_a_task_does(start_method: str, tmp_path: Path) -> None:
    with program("logs_late.py", start_method, directory=tmp_path) as run:
        assert run.wait() == 0
        was_there = run.out.strip()
        lines = run.err.splitlines()
    if start_method in ("forkserver", "spawn"):  # a fork has the parent's; loky's start imports it
        assert was_there == "False"
    assert lines == ["ExecutorWorker-1 log INFO from late"] * 2
