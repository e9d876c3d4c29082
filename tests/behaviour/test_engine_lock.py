"""What the engine's lock guards is touched with it only, and nothing that comes about between two holds is lost."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Any

import pytest

from executor import ProcessPoolExecutor
from executor._engine import Engine
from executor._worker import Worker
from tests import tasks
from tests.support import HANG


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Where the backlog is reached without the lock. A look at it drops what was cancelled: by two threads at once, it
    would drop what comes behind that, and that task would never run.
    """
    places: set[str] = set()

    def get(engine: Any) -> Any:
        if not engine.lock._is_owned():
            frame = sys._getframe(1)
            places.add(f"{frame.f_code.co_qualname}, line {frame.f_lineno}")
        return vars(engine)["backlog"]

    guarded = property(get, lambda engine, backlog: vars(engine).update(backlog=backlog))
    monkeypatch.setattr(Engine, "backlog", guarded, raising=False)
    return places


def work(pool: ProcessPoolExecutor, start: int) -> list[Any]:
    """Calls that find a worker idle and calls that do not, of which some are cancelled; a map that is read slowly."""
    alone = [pool.submit(tasks.square, x).result(HANG) for x in range(start, start + 20)]
    futures = [pool.submit(tasks.square, x) for x in range(start, start + 200)]
    cancelled = {future for future in futures[::3] if future.cancel()}
    together = [future.result(HANG) for future in futures if future not in cancelled]
    items = list(islice(pool.map(tasks.square, count(start), buffersize=4), 50))
    assert alone == items[:20] == [x * x for x in range(start, start + 20)]
    return together


@pytest.mark.parametrize("options", [{}, {"max_tasks_per_child": 20}, {"resources": {"token": 1}}])
def test_the_backlog(unguarded: set[str], options: dict[str, Any], start_method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method, **options) as pool, ThreadPoolExecutor(3) as threads:
        if "resources" in options:
            assert pool.options(resources={"token": 1}).submit(tasks.square, 3).result(HANG) == 9
        list(threads.map(work, [pool] * 3, [0, 1000, 2000]))
        pool.stats()
    assert unguarded == set()


def test_whether_a_task_that_is_to_be_cancelled_has_begun(monkeypatch: pytest.MonkeyPatch, start_method: str) -> None:
    """It may come back, and be dropped, in the midst of the question."""
    asked: list[bool] = []
    has_begun = Worker.has_begun

    def guarded(worker: Worker, task: Any) -> bool:
        asked.append(pool._session.engine.lock._is_owned())  # type: ignore[attr-defined]
        return has_begun(worker, task)

    monkeypatch.setattr(Worker, "has_begun", guarded)
    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        while len(asked) < 20:
            futures = [pool.submit(tasks.square, x) for x in range(300)]
            for future in futures:
                future.cancel()
    assert all(asked)


def test_what_makes_a_worker_hungry_while_it_is_fed(start_method: str) -> None:
    """Tokens come free just after a look at them."""
    with ProcessPoolExecutor(1, mp_context=start_method, resources={"token": 1}) as pool:
        engine, needy = pool._session.engine, pool.options(resources={"token": 1})
        assert needy.submit(tasks.square, 1).result(HANG) == 1
        with engine.lock:
            held = engine.tokens.take((("token", 1),))
        future = needy.submit(tasks.square, 2)
        feed = engine.feed

        def feed_just_before_they_are_free(worker: Worker) -> None:
            feed(worker)
            with engine.lock:
                held.release()

        engine.feed = feed_just_before_they_are_free  # type: ignore[method-assign]
        with engine.lock:
            engine.on_free(*engine.supervisor.idle.values())
        assert future.result(HANG) == 4
