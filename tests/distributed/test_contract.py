"""The tests of the contract that hold for every executor, over a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from tests.contract import test_asyncio, test_future, test_map, test_shutdown, test_submit, test_wait
from tests.contract.face import Face
from tests.distributed.conftest import Make

MODULES = (test_submit, test_map, test_future, test_wait, test_shutdown, test_asyncio)

# Not run here, and why.
EXCLUDED = {
    "test_two_at_once": "two executors on one cluster share its workers",
    "test_a_future_made_by_hand": "no executor in it",
    "test_a_future_made_by_hand_that_fails": "no executor in it",
    "test_a_future_made_by_hand_and_cancelled": "no executor in it",
    "test_a_future_made_by_hand_wakes_its_waiters": "no executor in it",
    "test_as_completed_gives_a_cancelled_future": "no executor in it",
}


class DaskFace(Face):
    """Stands for the module in the tests of the contract."""

    def __init__(self, make: Make) -> None:
        super().__init__("executor", "dask")
        object.__setattr__(self, "_make", make)

    def pool(self, max_workers: int | None = 2) -> Any:
        return self._make(max_workers)

    def context(self) -> None:
        return None

    @property
    def ProcessPoolExecutor(self) -> Callable[..., Any]:  # noqa: N802  # the name of the class it stands for
        """One that nobody holds but the test."""
        return lambda max_workers, mp_context: self._make(max_workers, hold=False)


@pytest.fixture
def face(dask_executor: Make) -> Face:
    return DaskFace(dask_executor)


@pytest.fixture
def any_face(face: Face) -> Face:
    return face


for _module in MODULES:
    for _name, _test in list(vars(_module).items()):
        if _name.startswith("test_") and isinstance(_test, FunctionType) and _name not in EXCLUDED:
            globals()[f"{_module.__name__.rpartition('.')[2]}_{_name.removeprefix('test_')}"] = _test
